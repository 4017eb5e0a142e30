FROM python:3.13.15-slim-bookworm AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY goe_exporter goe_exporter
# The environment gets no pip of its own: the build stage's installs into it.
RUN python -m venv --without-pip /opt/goe-exporter \
    && python -m pip --python /opt/goe-exporter/bin/python install \
        --no-cache-dir --disable-pip-version-check .

FROM python:3.13.15-slim-bookworm
LABEL org.opencontainers.image.title="goe-exporter" \
    org.opencontainers.image.description="Telemetry of go-eCharger wallboxes for Prometheus and InfluxDB" \
    org.opencontainers.image.source="https://github.com/goe-exporter/goe-exporter" \
    org.opencontainers.image.licenses="Apache-2.0"
# A new volume on the folder takes over its owner, so that the spool can be written.
RUN python -m pip uninstall --yes --root-user-action=ignore pip \
    && install -d -m 0750 -o 10001 -g 10001 /var/lib/goe-exporter
COPY --from=build /opt/goe-exporter /opt/goe-exporter
ENV PATH=/opt/goe-exporter/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 10001:10001
EXPOSE 10332
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s CMD \
    ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:10332/-/healthy', timeout=4)"]
ENTRYPOINT ["goe-exporter"]
CMD ["serve"]
