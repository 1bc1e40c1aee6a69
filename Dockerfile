# The command `pipeline` as an image, for a machine without or with GPUs; docs/howto/install.md says how to build it.
ARG BASE=python:3.12-slim-bookworm

FROM ${BASE} AS build
# Where builds of torch are, as pytorch.org names it; empty: where pip looks by itself, whose build is for CUDA.
ARG TORCH_INDEX=""
ARG EXTRAS=dicom,hub,kernels,nrrd,objects,onnx,postgres,stac,vectors
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python3 -m venv /opt/pipeline
WORKDIR /src
COPY constraints.txt ./
RUN /opt/pipeline/bin/pip install ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} "$(grep '^torch==' constraints.txt)"
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY flows flows
COPY pipeline pipeline
RUN /opt/pipeline/bin/pip install -c constraints.txt ".[${EXTRAS}]"

FROM ${BASE}
# The library of XML that GDAL in the wheels of rasterio takes from the system; Debian keeps no older versions to pin.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libexpat1 \
    && apt-get clean \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 1000 --create-home pipeline \
    && install -d -o pipeline -g pipeline /data
COPY --from=build /opt/pipeline /opt/pipeline
ENV PATH=/opt/pipeline/bin:$PATH PYTHONUNBUFFERED=1 \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 1000
WORKDIR /data
ENTRYPOINT ["pipeline"]
CMD ["--help"]
