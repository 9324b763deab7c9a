"""CMAF packaging: packets into parts and segments, and the HLS and DASH texts about them. Pure but for its callers' clocks."""
