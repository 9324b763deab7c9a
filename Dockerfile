FROM python:3.13-slim AS environment
RUN python -m venv /opt/venv
COPY requirements.lock .
RUN /opt/venv/bin/pip install --no-cache-dir --require-hashes --only-binary :all: -r requirements.lock

FROM python:3.13-slim
RUN useradd --system --uid 10001 --home-dir /data --no-create-home mediaserver && install -d -o mediaserver -g mediaserver /data
COPY --from=environment /opt/venv /opt/venv
WORKDIR /opt/mediaserver
COPY protocols protocols
COPY mediaserver mediaserver
COPY control control
COPY pyproject.toml config.toml ./
RUN /opt/venv/bin/python -m compileall -q .
USER mediaserver
ENV MEDIASERVER__SERVER__DATA_DIR=/data PYTHONUNBUFFERED=1
VOLUME /data
EXPOSE 1935 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
    CMD ["/opt/venv/bin/python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/healthz', timeout=2)"]
ENTRYPOINT ["/opt/venv/bin/python", "-m", "mediaserver"]
CMD ["serve"]
