# The first stage builds the exporter and assembles its file system, the second contains nothing else.
# Base images without a shell ship an older Python.
FROM python:3.13.15-slim-bookworm AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY goe_exporter goe_exporter
COPY deploy/image.py deploy/
# The environment has no pip; the build stage's pip installs into it. A new volume mounted on
# /var/lib/goe-exporter takes over the owner of that directory, so that the spool is writable.
RUN python -m venv --without-pip /opt/goe-exporter \
    && python -m pip --python /opt/goe-exporter/bin/python install \
        --no-cache-dir --disable-pip-version-check . \
    && python deploy/image.py /opt/goe-exporter /image \
    && install -d -m 0750 -o 10001 -g 10001 /image/var/lib/goe-exporter

FROM scratch
LABEL org.opencontainers.image.title="goe-exporter" \
    org.opencontainers.image.description="Export go-eCharger wallbox metrics to Prometheus and InfluxDB" \
    org.opencontainers.image.source="https://github.com/goe-exporter/goe-exporter" \
    org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /image /
COPY --from=build --chown=10001:10001 /image/var/lib/goe-exporter /var/lib/goe-exporter
ENV PATH=/opt/goe-exporter/bin LANG=C.UTF-8 SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 MALLOC_ARENA_MAX=2 MALLOC_TRIM_THRESHOLD_=131072
USER 10001:10001
EXPOSE 10332
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s CMD \
    ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:10332/-/healthy', timeout=4)"]
ENTRYPOINT ["goe-exporter"]
CMD ["serve"]
