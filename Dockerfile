# One image for gateway and controller. At run time it needs no shell, no root and nothing that can be written to.
ARG NODE_IMAGE=docker.io/library/node:24-bookworm-slim

FROM ${NODE_IMAGE} AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json ./
COPY scripts ./scripts
COPY src ./src
RUN npm run --silent build

FROM ${NODE_IMAGE} AS dependencies
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# Types and source maps are for compilers and debuggers.
RUN npm ci --omit=dev --no-audit --no-fund \
  && npm sbom --package-lock-only --omit dev --sbom-format cyclonedx --sbom-type application > sbom.cdx.json \
  && find node_modules -type f \( -name '*.map' -o -name '*.d.ts' -o -name '*.d.mts' -o -name '*.d.cts' \) -delete

FROM ${NODE_IMAGE}
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="parley" \
  org.opencontainers.image.description="Multi-tenant real-time chat for Kubernetes: gateway and controller" \
  org.opencontainers.image.licenses="Apache-2.0" \
  org.opencontainers.image.version="${VERSION}" \
  org.opencontainers.image.revision="${REVISION}"
ENV NODE_ENV=production
WORKDIR /app
COPY LICENSE package.json ./
COPY --from=dependencies /app/sbom.cdx.json ./
COPY --from=dependencies /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
# The base image's user `node`, as a number: a kubelet that is told runAsNonRoot cannot look names up.
USER 1000:1000
EXPOSE 8000 9090 9091
# Handles SIGTERM itself, so there is no init between it and the kubelet.
ENTRYPOINT ["node", "dist/cli/main.js"]
CMD ["--help"]
