FROM python:3.12-slim-bookworm

RUN useradd --create-home trl && mkdir /home/trl/data && chown trl /home/trl/data
WORKDIR /opt/trl-mcp
COPY pyproject.toml README.md LICENSE ./
COPY server server
COPY templates templates
# Bytecode is compiled here, not at every start.
RUN python -m venv /opt/venv && /opt/venv/bin/pip install --no-cache-dir --compile . && rm -rf /opt/trl-mcp/*

USER trl
WORKDIR /home/trl
ENV PATH=/opt/venv/bin:$PATH TRL_MCP_HOME=/home/trl/data
# The environment that tokens are counted in is made here, not in the first call.
RUN trl-mcp doctor
VOLUME /home/trl/data
ENTRYPOINT ["trl-mcp"]
