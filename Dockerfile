# syntax=docker/dockerfile:1
# One image for all roles: `docker run … tieout run worker`. Nothing is downloaded when it runs.
FROM python:3.11.14-slim-bookworm AS build
WORKDIR /src
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /venv
COPY requirements.txt ./
RUN /venv/bin/pip install --no-deps --require-hashes -r requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY codecs codecs
COPY reconcilers reconcilers
COPY schemas schemas
COPY streams streams
RUN /venv/bin/pip install --no-deps --no-build-isolation .

FROM python:3.11.14-slim-bookworm
RUN groupadd --gid 10001 tieout && useradd --uid 10001 --gid 10001 --no-create-home tieout \
    && install -d -o 10001 -g 10001 /data /etc/tieout
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    TIEOUT_CONFIG=/etc/tieout/tieout.toml TIEOUT_OPS__HOST=0.0.0.0
WORKDIR /data
USER 10001:10001
EXPOSE 9464
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:9464/livez', timeout=2)"]
ENTRYPOINT ["tieout"]
CMD ["--help"]
