# One image for the gateway and the controller. It runs without a shell, without root and with a read-only
# file system.
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
# Type declarations and source maps are not needed at run time.
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
# The user `node` of the base image, as a number: with runAsNonRoot, the kubelet cannot resolve user names.
USER 1000:1000
EXPOSE 8000 9090 9091
# The program handles SIGTERM itself, so it needs no init process.
ENTRYPOINT ["node", "dist/cli/main.js"]
CMD ["--help"]
