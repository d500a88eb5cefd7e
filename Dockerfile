# The image of the other end: what a work pool's tasks run, be it in ECS or elsewhere.
#
#   docker build -t lakehouse .
#
# Build it from the very code that the orchestrator runs. Each order names the code version of its function, and the
# library's version with a fingerprint of all its code; an end that has others refuses it, and says both. Name the image by its digest (image@sha256:...) in
# the task definition, so that what was tried is what runs.
#
# The server's secrets have no place here, nor has anything but the library, the project, and what they need.

FROM python:3.11-slim AS build
WORKDIR /build
COPY requirements.txt ./
RUN python -m venv /opt/lakehouse \
 && /opt/lakehouse/bin/pip install --no-cache-dir --no-deps --require-hashes -r requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY lakehouse lakehouse
COPY assets assets
COPY checks checks
COPY dbt dbt
COPY io io
RUN /opt/lakehouse/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.11-slim
COPY --from=build /opt/lakehouse /opt/lakehouse
# A project of your own: install its package into /opt/lakehouse above, or copy its modules to /project.
RUN useradd --create-home --uid 1000 lakehouse && mkdir /project && chown lakehouse /project
USER lakehouse
WORKDIR /project
ENV PATH=/opt/lakehouse/bin:$PATH \
    PYTHONSAFEPATH=1 \
    PYTHONUNBUFFERED=1
# Prefect's workers give the command themselves; this is it, so that the image can be tried out by hand.
CMD ["prefect", "flow-run", "execute"]
