FROM python:3.13.15-slim-bookworm
LABEL org.opencontainers.image.title="goe-exporter" \
    org.opencontainers.image.description="Export go-eCharger wallbox metrics to Prometheus and InfluxDB" \
    org.opencontainers.image.source="https://github.com/goe-exporter/goe-exporter" \
    org.opencontainers.image.licenses="Apache-2.0"
# The standard library is compiled here: the file system is read-only at run time, and compiling at each
# start takes seconds on a small machine. A new volume mounted on /var/lib/goe-exporter takes over the
# owner of that directory, so that the spool is writable.
RUN --mount=type=bind,target=/source \
    python -m pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore /source \
    && python -m pip uninstall --yes --quiet --root-user-action=ignore pip \
    && rm -r /usr/local/lib/python3.*/ensurepip \
    && python -m compileall -q /usr/local/lib/python3.* \
    && install -d -m 0750 -o 10001 -g 10001 /var/lib/goe-exporter
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 MALLOC_ARENA_MAX=2 MALLOC_TRIM_THRESHOLD_=131072
USER 10001:10001
EXPOSE 10332
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s CMD \
    ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:10332/-/healthy', timeout=4)"]
ENTRYPOINT ["goe-exporter"]
CMD ["serve"]
