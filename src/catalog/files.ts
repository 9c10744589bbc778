// The catalog on a folder of manifests, which is read again when it changes. An invalid edit does not affect
// connections: it is reported, and the tenant keeps its last good revision.
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { ConfigError } from '../errors.js'
import type { Catalog, CatalogChange, CatalogListener } from './catalog.js'
import type { TenantPolicy } from '../tenant/policy.js'
import type { FileProblem } from '../resources/problem.js'
import { parseManifests, type ManifestDocument } from '../resources/yaml.js'

/** A tenant that the files describe completely. */
export interface ServedTenant {
  readonly file: string
  readonly policy: TenantPolicy
  /** A server API key that is published with Parley. Absent: the tenant has none. */
  readonly sampleApiKey?: string | undefined
}

/** The result of compiling every manifest of a folder. */
export interface ManifestSet {
  /** By `<namespace>/<name>`. */
  readonly tenants: ReadonlyMap<string, ServedTenant>
  /** The keys of tenants that the files contain but that cannot be served. */
  readonly invalidTenants: ReadonlySet<string>
  /** The files with a document whose kind or name could not be determined. */
  readonly unparsableFiles: ReadonlySet<string>
  readonly problems: readonly FileProblem[]
}

/** Compiles the documents of one folder. Never throws: errors are listed in `problems`. */
export type ManifestCompiler = (documents: readonly ManifestDocument[]) => ManifestSet

export interface FilesCatalogOptions {
  readonly compile: ManifestCompiler
  /**
   * The time between two polls of the folder, in milliseconds. An edit is applied at the second poll that
   * sees it. Default 300.
   */
  readonly pollMs?: number
}

/**
 * Reads the files `*.yaml` and `*.yml` of one folder, sorted by name, without subfolders. It polls file
 * signatures instead of watching, because that works on every file system, and with ConfigMaps, whose files
 * are symbolic links that change their target. It reads synchronously, because the files are few and small,
 * and because two reloads must not overlap.
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
  /** The signature at the last poll. */
  #polledSignature = ''

  private constructor(dir: string, options: FilesCatalogOptions) {
    this.#dir = dir
    this.#compile = options.compile
    this.#pollMs = options.pollMs ?? 300
  }

  /**
   * Opens the folder `dir` and loads it. Errors in its files are in `problems`.
   * @throws ConfigError when the folder does not exist or cannot be read.
   */
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

  /** The problems of the last load, sorted by file and line. */
  get problems(): readonly FileProblem[] {
    return this.#problems
  }

  get(key: string): TenantPolicy | undefined {
    return this.#tenants.get(key)?.policy
  }

  /**
   * Returns a server API key that is published with Parley, for trials. Returns undefined when the tenant has
   * none.
   */
  sampleApiKey(key: string): string | undefined {
    return this.#tenants.get(key)?.sampleApiKey
  }

  *all(): Iterable<TenantPolicy> {
    for (const { policy } of this.#tenants.values()) yield policy
  }

  listen(listener: CatalogListener): void {
    this.#listeners.push(listener)
  }

  /** Calls `listener` after each reload, also when only `problems` changed. */
  onReload(listener: () => void): void {
    this.#reloadListeners.push(listener)
  }

  /** Polls the folder until `signal` is aborted, and resolves then. */
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

  /** Reads the folder now, whether or not it changed, and notifies the listeners of the changes. */
  reload(): void {
    for (const change of this.#load()) {
      for (const listener of this.#listeners) listener.changed(change)
    }
    for (const listener of this.#reloadListeners) listener()
  }

  /**
   * Reloads when two polls in a row see the same new signature, so that a file is not read while it is being
   * written.
   */
  #poll(): void {
    const signature = this.#signature()
    const settled = signature === this.#polledSignature
    this.#polledSignature = signature
    if (settled && signature !== this.#loadedSignature) this.reload()
  }

  #load(): CatalogChange[] {
    // Taken before reading, so that the next poll notices any later change.
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

/**
 * Returns the tenants that keep their last good revision: those that are invalid now, and those whose file
 * could not be read, because they may still be in it.
 */
function keptTenants(
  before: ReadonlyMap<string, ServedTenant>,
  loaded: ManifestSet,
  unreadable: (file: string) => boolean,
): [string, ServedTenant][] {
  return [...before].filter(
    ([key, { file }]) =>
      loaded.invalidTenants.has(key) || loaded.unparsableFiles.has(file) || unreadable(file),
  )
}

function changesBetween(
  before: ReadonlyMap<string, ServedTenant>,
  after: ReadonlyMap<string, ServedTenant>,
): CatalogChange[] {
  const removed = [...before].filter(([key]) => !after.has(key))
  const changed = [...after].filter(
    ([key, { policy }]) => before.get(key)?.policy.revision !== policy.revision,
  )
  return [
    ...removed.map(([, { policy }]) => ({ kind: 'remove' as const, policy })),
    ...changed.map(([, { policy }]) => ({ kind: 'put' as const, policy })),
  ]
}

interface FolderContents {
  readonly documents: readonly ManifestDocument[]
  readonly problems: readonly FileProblem[]
  /** Returns whether some part of the file could not be read. */
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
      message: `The file or folder cannot be read: ${codeOf(error)}.`,
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
  const filesWithProblems = new Set(problems.map(({ file }) => file))
  return { documents, problems, unreadable: (file) => filesWithProblems.has(file) }
}

/** Hidden files belong to editors and to Kubernetes, so they are skipped. */
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
