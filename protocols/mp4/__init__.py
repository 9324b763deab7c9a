"""ISO BMFF as CMAF uses it: the init segment of a track, and fragments of its samples."""
