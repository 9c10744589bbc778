// Where a gateway learns of its tenants: a folder that each gateway has, or the catalog that a controller keeps in Redis.
import { ConfigError } from '../errors.js'
import type { Log } from '../log.js'
import type { Prepare, RedisLink } from '../redis/link.js'
import { compileManifests } from '../compile/manifests.js'
import { FilesCatalog } from '../catalog/files.js'
import type { CatalogVersion } from '../catalog/version.js'
import { RedisCatalog } from '../catalog/redis/reader.js'
import type { Catalog } from '../catalog/catalog.js'
import { SealingKeys } from '../catalog/redis/sealing.js'
import type { Clock } from '../time.js'
import { readNamedFile } from './files.js'
import { showProblems } from './serving.js'

export interface GatewayCatalog {
  readonly catalog: Catalog
  /** Follows changes until `signal` ends it. */
  run(signal: AbortSignal): Promise<void>
  /** In force here; undefined where there is none to compare. */
  version(): CatalogVersion | undefined
  /** Names of what cannot be served as it should be. */
  problems(): string[]
  /** Why nobody can be served yet. */
  troubles(): string[]
  onApplied(listener: () => void): void
  /** How long ago, at most, it was what the controller wants; Infinity: never was. Undefined: no controller writes it. */
  ageMs(): number | undefined
}

export interface CatalogSource {
  readonly tenants?: string | undefined
  readonly sealingKeyFile?: string | undefined
  readonly installation: string
}

/** Throws ConfigError: exactly one source must be named. */
export function openCatalog(
  source: CatalogSource,
  deps: { createLink: (role: string, prepare: Prepare) => RedisLink; clock: Clock; log: Log },
): GatewayCatalog {
  const { installation, sealingKeyFile, tenants } = source
  if ((tenants === undefined) === (sealingKeyFile === undefined)) {
    throw new ConfigError([
      'Say where tenants come from: --tenants with a folder, or --sealing-key-file to follow the catalog in Redis',
    ])
  }
  if (tenants !== undefined) return filesCatalog(tenants)
  const catalog = new RedisCatalog({ ...deps, installation, sealing: readSealingKeys(sealingKeyFile ?? '') })
  return {
    catalog,
    run: (signal) => catalog.run(signal),
    version: () => catalog.version,
    problems: () => catalog.problems.map(({ tenant }) => tenant),
    troubles: () => (catalog.synced ? [] : [`The catalog was not read yet: ${catalog.trouble ?? ''}`]),
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
    troubles: () => [],
    onApplied: (listener) => catalog.onReload(listener),
    ageMs: () => undefined,
  }
}

/** Throws ConfigError. */
export function readSealingKeys(file: string): SealingKeys {
  return SealingKeys.parse(readNamedFile('sealing key file', file), file)
}
