# Service and worker in one image; what it runs is the command's first word. Needs only the base image.
FROM python:3.13-slim AS build
WORKDIR /build
COPY pyproject.toml constraints.txt README.md CHANGELOG.md ./
COPY api api
COPY db db
COPY migrations migrations
RUN python -m venv /opt/turnledger \
    && /opt/turnledger/bin/pip install --no-cache-dir --constraint constraints.txt ".[anthropic,mcp,tracing]"

FROM python:3.13-slim
RUN useradd --system --uid 10001 --no-create-home turnledger
COPY --from=build /opt/turnledger /opt/turnledger
ENV PATH=/opt/turnledger/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    TURNLEDGER_HOST=0.0.0.0 \
    TURNLEDGER_LOG_FORMAT=json
USER turnledger
EXPOSE 8080
STOPSIGNAL SIGTERM
ENTRYPOINT ["turnledger"]
CMD ["serve"]
