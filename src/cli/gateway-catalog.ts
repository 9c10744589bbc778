// The source of a gateway's tenants: a folder of manifests, or the catalog that a controller publishes in
// Redis.
import { ConfigError } from '../errors.js'
import type { Log } from '../log.js'
import type { Prepare, RedisLink } from '../redis/link.js'
import { compileManifests } from '../compile/manifests.js'
import { FilesCatalog } from '../catalog/files.js'
import type { CatalogVersion } from '../catalog/version.js'
import { CatalogReader } from '../catalog/redis/reader.js'
import type { Catalog } from '../catalog/catalog.js'
import { SealingKeys } from '../catalog/redis/sealing.js'
import type { Clock } from '../time.js'
import { readNamedFile } from './files.js'
import { showProblems } from './serving.js'

export interface GatewayCatalog {
  readonly catalog: Catalog
  /** Follows changes until `signal` ends it. */
  run(signal: AbortSignal): Promise<void>
  /** The catalog version that this gateway enforces; undefined for a folder, which has no versions. */
  version(): CatalogVersion | undefined
  /** Tenants, or files, whose newest revision cannot be served. */
  problems(): string[]
  /** Why no tenant can be served yet, as sentences for `/readyz`; empty when tenants can be served. */
  unreadyReasons(): string[]
  /** Calls `listener` after each change that was applied. */
  onApplied(listener: () => void): void
  /**
   * Milliseconds since this catalog was last known to be the controller's newest; Infinity when it never was.
   * Undefined for a folder, which no controller writes.
   */
  ageMs(): number | undefined
}

/** The label of the secrets that sign guest tokens. Another label makes every guest a new one. */
const guestSecretsLabel = 'parley guest tokens'

export interface CatalogSource {
  readonly tenants?: string | undefined
  readonly sealingKeyFile?: string | undefined
  readonly installation: string
}

/**
 * Opens the catalog: the folder if one is named, otherwise the catalog in Redis. @throws ConfigError when no
 * source is named.
 */
export function openCatalog(
  source: CatalogSource,
  deps: { createLink: (role: string, prepare: Prepare) => RedisLink; clock: Clock; log: Log },
): GatewayCatalog {
  const { installation, sealingKeyFile, tenants } = source
  if (tenants !== undefined) return filesCatalog(tenants)
  if (sealingKeyFile === undefined) {
    throw new ConfigError([
      'The gateway does not know where to read its tenants: add --tenants with a folder of manifests, or --sealing-key-file to follow the catalog that the controller writes to Redis',
    ])
  }
  const catalog = new CatalogReader({ ...deps, installation, sealing: readSealingKeys(sealingKeyFile) })
  return {
    catalog,
    run: (signal) => catalog.run(signal),
    version: () => catalog.version,
    problems: () => catalog.problems.map(({ tenant }) => tenant),
    unreadyReasons: () =>
      catalog.synced ? [] : [`The catalog has not been read yet: ${catalog.unavailableReason ?? ''}`],
    onApplied: (listener) => catalog.onApplied(listener),
    ageMs: () => catalog.ageMs ?? Infinity,
  }
}

function filesCatalog(folder: string): GatewayCatalog {
  const catalog = FilesCatalog.open(folder, { compile: compileManifests })
  showProblems(catalog)
  return {
    catalog,
    run: (signal) => catalog.run(signal),
    version: () => undefined,
    problems: () => catalog.problems.map(({ file }) => file),
    unreadyReasons: () => [],
    onApplied: (listener) => catalog.onReload(listener),
    ageMs: () => undefined,
  }
}

/**
 * Returns the secrets that sign guest tokens, which all gateways with the same sealing key file share.
 * Undefined without a file: each process then uses a random secret. @throws ConfigError when the file cannot
 * be read or parsed.
 */
export function guestSecretsOf({ sealingKeyFile }: CatalogSource): readonly Uint8Array[] | undefined {
  return sealingKeyFile === undefined
    ? undefined
    : readSealingKeys(sealingKeyFile).deriveSecrets(guestSecretsLabel)
}

/**
 * Reads the keys that seal and open the catalog. @throws ConfigError when the file cannot be read or parsed.
 */
export function readSealingKeys(file: string): SealingKeys {
  return SealingKeys.parse(readNamedFile('sealing key file', file), file)
}
