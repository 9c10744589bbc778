// The catalog of `dev`: a folder of manifests, read again when it changes. A mistake in an edit costs nobody a connection: it is reported,
// and the tenant keeps the last revision that was good.
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { ConfigError } from '../errors.js'
import type { Catalog, CatalogChange, CatalogListener } from './catalog.js'
import type { TenantPolicy } from '../tenant/policy.js'
import type { FileProblem } from '../resources/problem.js'
import { parseManifests, type ManifestDocument } from '../resources/yaml.js'

/** One tenant that the files describe completely. */
export interface ServedTenant {
  readonly file: string
  readonly policy: TenantPolicy
  /** A server API key that everybody knows; absent: there is none. */
  readonly sampleApiKey?: string | undefined
}

/** The result of compiling every manifest of a folder. */
export interface ManifestSet {
  /** By `<namespace>/<name>`. */
  readonly tenants: ReadonlyMap<string, ServedTenant>
  /** Keys of tenants that stand in the files and cannot be served as they are. */
  readonly invalidTenants: ReadonlySet<string>
  /** Files with a document of which not even kind and name can be told. */
  readonly unparsableFiles: ReadonlySet<string>
  readonly problems: readonly FileProblem[]
}

/** Compiles the documents of one folder. Never throws: what is wrong is listed in `problems`. */
export type ManifestCompiler = (documents: readonly ManifestDocument[]) => ManifestSet

export interface FilesCatalogOptions {
  readonly compile: ManifestCompiler
  /** How often the folder is looked at; an edit counts from the second look on. Default 300. */
  readonly pollMs?: number
}

/**
 * Reads `*.yaml` and `*.yml` of one folder, by name, without its subfolders. Looks at signatures instead of watching: that works on every
 * file system, and with ConfigMaps, whose files are symbolic links that change their target. Reads synchronously: the files are few and
 * small, and no reload ever meets another one half-way.
 */
export class FilesCatalog implements Catalog {
  readonly #dir: string
  readonly #compile: ManifestCompiler
  readonly #pollMs: number
  readonly #listeners: CatalogListener[] = []
  readonly #reloadListeners: (() => void)[] = []
  #tenants: ReadonlyMap<string, ServedTenant> = new Map()
  #problems: readonly FileProblem[] = []
  #loadedSignature = ''
  /** What the last look saw, when it was not what is loaded. */
  #seenSignature = ''

  private constructor(dir: string, options: FilesCatalogOptions) {
    this.#dir = dir
    this.#compile = options.compile
    this.#pollMs = options.pollMs ?? 300
  }

  /** @throws ConfigError when the folder is missing or cannot be read. What is wrong inside it is in `problems`. */
  static open(dir: string, options: FilesCatalogOptions): FilesCatalog {
    try {
      readdirSync(dir)
    } catch (error) {
      throw new ConfigError([`The tenants folder "${dir}" cannot be read: ${codeOf(error)}.`])
    }
    const catalog = new FilesCatalog(dir, options)
    catalog.#load()
    return catalog
  }

  /** Of the last load, in order of files and lines. */
  get problems(): readonly FileProblem[] {
    return this.#problems
  }

  get(key: string): TenantPolicy | undefined {
    return this.#tenants.get(key)?.policy
  }

  /** A server API key that is published with Parley, for trying out. Undefined: the tenant has none. */
  sampleApiKey(key: string): string | undefined {
    return this.#tenants.get(key)?.sampleApiKey
  }

  *all(): Iterable<TenantPolicy> {
    for (const { policy } of this.#tenants.values()) yield policy
  }

  listen(listener: CatalogListener): void {
    this.#listeners.push(listener)
  }

  /** Calls `listener` after each reload, also of one that brought problems alone: what stands in `problems` then is new. */
  onReload(listener: () => void): void {
    this.#reloadListeners.push(listener)
  }

  /** Looks for changes until `signal` ends it; resolves then. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        await delay(this.#pollMs, undefined, { signal })
      } catch {
        return
      }
      this.#poll()
    }
  }

  /** Reads the folder now, changed or not, and tells the listeners what moved. */
  reload(): void {
    for (const change of this.#load()) {
      for (const listener of this.#listeners) listener.changed(change)
    }
    for (const listener of this.#reloadListeners) listener()
  }

  /** Two looks must see the same: a file that is still being written is left alone. */
  #poll(): void {
    const signature = this.#signature()
    const settled = signature === this.#seenSignature
    this.#seenSignature = signature
    if (settled && signature !== this.#loadedSignature) this.reload()
  }

  #load(): CatalogChange[] {
    // Before reading: what changes after this is seen by the next look.
    this.#loadedSignature = this.#signature()
    const { documents, problems, unreadable } = readFolder(this.#dir)
    const loaded = this.#compile(documents)
    this.#problems = [...problems, ...loaded.problems].toSorted(byPosition)

    const before = this.#tenants
    this.#tenants = new Map([...keptTenants(before, loaded, unreadable), ...loaded.tenants])
    return changesBetween(before, this.#tenants)
  }

  #signature(): string {
    try {
      return fileNames(this.#dir)
        .map((name) => `${name} ${fileSignature(join(this.#dir, name))}`)
        .join('\n')
    } catch (error) {
      return codeOf(error)
    }
  }
}

/** Tenants that were good and are not known to be gone: they stand there broken, or perhaps in what could not be read. */
function keptTenants(
  before: ReadonlyMap<string, ServedTenant>,
  loaded: ManifestSet,
  unreadable: (file: string) => boolean,
): [string, ServedTenant][] {
  return [...before].filter(
    ([key, { file }]) => loaded.invalidTenants.has(key) || loaded.unparsableFiles.has(file) || unreadable(file),
  )
}

function changesBetween(
  before: ReadonlyMap<string, ServedTenant>,
  after: ReadonlyMap<string, ServedTenant>,
): CatalogChange[] {
  const gone = [...before].filter(([key]) => !after.has(key))
  const moved = [...after].filter(([key, { policy }]) => before.get(key)?.policy.revision !== policy.revision)
  return [
    ...gone.map(([, { policy }]) => ({ kind: 'remove' as const, policy })),
    ...moved.map(([, { policy }]) => ({ kind: 'put' as const, policy })),
  ]
}

interface FolderContents {
  readonly documents: readonly ManifestDocument[]
  readonly problems: readonly FileProblem[]
  /** Files, perhaps all, of which some part could not be read. */
  readonly unreadable: (file: string) => boolean
}

function readFolder(dir: string): FolderContents {
  const problems: FileProblem[] = []
  const documents: ManifestDocument[] = []
  const report = (file: string, error: unknown): void => {
    problems.push({
      file,
      path: [],
      reason: 'UnreadableFile',
      message: `It cannot be read: ${codeOf(error)}.`,
    })
  }
  let names: string[]
  try {
    names = fileNames(dir)
  } catch (error) {
    report(dir, error)
    return { documents, problems, unreadable: () => true }
  }
  for (const name of names) {
    try {
      const parsed = parseManifests(name, readFileSync(join(dir, name), 'utf8'))
      documents.push(...parsed.documents)
      problems.push(...parsed.problems)
    } catch (error) {
      report(name, error)
    }
  }
  const bad = new Set(problems.map(({ file }) => file))
  return { documents, problems, unreadable: (file) => bad.has(file) }
}

/** Hidden files are editors' and Kubernetes' own. */
function fileNames(dir: string): string[] {
  return readdirSync(dir)
    .filter((name) => /\.ya?ml$/.test(name) && !name.startsWith('.'))
    .toSorted()
}

function fileSignature(path: string): string {
  try {
    const { ino, size, mtimeNs, ctimeNs } = statSync(path, { bigint: true })
    return [ino, size, mtimeNs, ctimeNs].join(' ')
  } catch (error) {
    return codeOf(error)
  }
}

function codeOf(error: unknown): string {
  if (error instanceof Error && 'code' in error) return String(error.code)
  return error instanceof Error ? error.message : String(error)
}

function byPosition(a: FileProblem, b: FileProblem): number {
  return a.file.localeCompare(b.file) || (a.line ?? 0) - (b.line ?? 0)
}
