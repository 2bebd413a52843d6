# A server for artefacts: no PyTorch, no root, nothing written outside /tmp.
#
#   docker build -t imbik-serve .
#   docker run --read-only --tmpfs /tmp --cpus 2 -p 8000:8000 -v "$PWD/run/layers-1+int8/artefacts/onnx:/model:ro" imbik-serve
#
# An image that holds its model:
#
#   FROM imbik-serve
#   COPY run/layers-1+int8/artefacts/onnx /model
#
# Other options of `imbik serve` stand behind the image's name: ... imbik-serve /model --workers 2
FROM python:3.13-slim AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY src src
# bytecode is made here: the file system of the running image cannot be written
RUN python -m venv /opt/imbik \
 && /opt/imbik/bin/pip install --no-cache-dir --constraint constraints.txt ".[serve]" \
 && /opt/imbik/bin/pip uninstall --yes pip
# what a server never opens, a third of all bytes: tests; the hub's client; ONNX Runtime's tools, and its second library, for programs in C
RUN cd /opt/imbik/lib/python*/site-packages \
 && find . -type d -name tests -prune -exec rm -r {} + \
 && rm -r huggingface_hub* hf_xet* onnxruntime/transformers onnxruntime/tools onnxruntime/quantization onnxruntime/datasets \
 && rm onnxruntime/capi/libonnxruntime.so* \
 && /opt/imbik/bin/python -m compileall -q . \
 && /opt/imbik/bin/python -c "import imbik.serve.app, imbik.runtime.predictor, onnxruntime, tokenizers, uvicorn, httptools, uvloop"

FROM python:3.13-slim
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin imbik
COPY --from=build /opt/imbik /opt/imbik
# HF_HUB_OFFLINE: a model is in the image or mounted, nothing is fetched; threads follow from --cpus (imbik reads the control group)
ENV PATH=/opt/imbik/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PYTHONSAFEPATH=1 HF_HUB_OFFLINE=1 HOME=/tmp
USER 10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD \
  ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/health/ready', timeout=4)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["imbik", "serve", "--host", "0.0.0.0", "--port", "8000"]
CMD ["/model"]
