# One image, two entry points: `footnote serve` (with --no-worker it is the server alone) and `python -m ingest worker`.
#
#   docker build -t footnote .
#   docker run -p 8000:8000 -v footnote-data:/data -e FOOTNOTE_API_KEYS=… footnote
#
# At run time it writes to /data and /tmp only, as user 10001, so it can run with --read-only --tmpfs /tmp.
ARG PYTHON_VERSION=3.12

FROM python:${PYTHON_VERSION}-slim AS build

# Where pip finds the CPU build of torch, a tenth of the size of the one for GPUs. Set it empty to use pip's own indexes.
ARG TORCH_INDEX_URL=https://download.pytorch.org/whl/cpu

WORKDIR /src
# Without pip in it: the image that runs never installs anything.
RUN python -m venv --without-pip /opt/footnote
COPY pyproject.toml ./
# First the dependencies alone, of an empty package, so that a change of the code does not fetch them again. OCR takes
# 0.3 GB of them: who uploads a scan expects it to be read.
RUN mkdir app ingest && touch README.md LICENSE app/__init__.py ingest/__init__.py \
    && python -m pip --python /opt/footnote/bin/python install --no-cache-dir --disable-pip-version-check \
        ${TORCH_INDEX_URL:+--extra-index-url "$TORCH_INDEX_URL"} '.[ocr,postgres]' \
    # What is for building against torch or for testing it, and the tests of scikit-learn.
    && cd /opt/footnote/lib/python3*/site-packages \
    && rm -rf torch/include torch/share torch/test \
    && find torch/bin -type f ! -name torch_shm_manager -delete \
    && find . -name '*.a' -delete \
    && find . -type d -name tests -path '*/sklearn/*' -prune -exec rm -rf {} +
COPY README.md LICENSE ./
COPY app app
COPY ingest ingest
RUN python -m pip --python /opt/footnote/bin/python install --no-cache-dir --disable-pip-version-check \
        --no-deps --force-reinstall . \
    # Whatever was removed above, nothing that runs misses it.
    && /opt/footnote/bin/python -c 'import cv2, faiss, onnxruntime, rapidocr, sentence_transformers, torch, app.server, ingest.worker'


FROM python:${PYTHON_VERSION}-slim

LABEL org.opencontainers.image.title="Footnote" \
      org.opencontainers.image.description="Ask your own documents; every sentence of an answer carries a footnote that can be checked." \
      org.opencontainers.image.licenses="Apache-2.0"

RUN useradd --uid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin footnote \
    # Named volumes take their owner from here.
    && install --directory --owner footnote --group footnote /data /data/models
COPY --from=build /opt/footnote /opt/footnote

ENV PATH=/opt/footnote/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    # Nothing outside /data and /tmp can be written, so do not try.
    PYTHONDONTWRITEBYTECODE=1 \
    FOOTNOTE_DATA_DIR=/data \
    FOOTNOTE_HOST=0.0.0.0 \
    HF_HOME=/data/models
WORKDIR /tmp
USER 10001:10001
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=120s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f\"http://127.0.0.1:{os.environ.get('FOOTNOTE_PORT', 8000)}/ready\", timeout=4)"]
# Server and worker in one container; where they have one each, the server gets --no-worker.
CMD ["footnote", "serve"]
