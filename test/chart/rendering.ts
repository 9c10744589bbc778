// Renders the chart with helm for tests: returns the objects, or the error message that refuses the values.
import { execFile } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseDocument, stringify } from 'yaml'
import { locateHelm } from '../../scripts/helm.mjs'

export const root = fileURLToPath(new URL('../..', import.meta.url))
export const chart = join(root, 'charts/parley')

/** Parsed YAML of unknown shape. Tests read its fields without checks. */
// oxlint-disable-next-line typescript/no-explicit-any -- a test that reads `undefined` where a field is missing fails as it should
export type Tree = any

export interface Release {
  readonly name?: string
  readonly namespace?: string
}

const rendered = new Map<string, Promise<Tree[]>>()

/**
 * Renders each set of values once and caches the result. Rejects with the message of helm when it refuses
 * `values`.
 */
export function render(values: Tree = {}, release: Release = {}): Promise<Tree[]> {
  const key = JSON.stringify([values, release])
  const known = rendered.get(key) ?? renderUncached(values, release)
  rendered.set(key, known)
  return known
}

const parsed = new Map<string, Tree>()

/** Parses each document once, because CRDs are long and always the same. */
function parse(text: string): Tree {
  if (!parsed.has(text)) parsed.set(text, parseDocument(text).toJS())
  return parsed.get(text)
}

async function renderUncached(
  values: Tree,
  { name = 'parley', namespace = 'chat' }: Release,
): Promise<Tree[]> {
  const helm = await locateHelm()
  if (helm === undefined) throw new Error('helm is missing: run scripts/test-setup.mjs, which installs it.')
  const folder = await mkdtemp(join(tmpdir(), 'parley-chart-'))
  try {
    const file = join(folder, 'values.yaml')
    await writeFile(file, stringify(values))
    const args = ['template', name, chart, `--namespace=${namespace}`, `--values=${file}`]
    const text = await runHelm(helm, [...args, '--kube-version=1.34.0'])
    return text
      .split(/^---$/m)
      .map(parse)
      .filter((object) => object !== null)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

function runHelm(helm: string, args: string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(helm, args, { maxBuffer: 2 ** 25 }, (error, stdout, stderr) => {
      if (error) reject(new Error(stderr))
      else resolve(stdout)
    })
  })
}

/** The message with which helm refuses `values`; undefined when helm accepts them. */
export async function refusal(values: Tree): Promise<string | undefined> {
  return render(values).then(
    () => undefined,
    (error: unknown) => (error instanceof Error ? error.message : String(error)),
  )
}

/** The only object of the given kind whose name ends with `name`. Throws when there is not exactly one. */
export function find(objects: Tree[], kind: string, name = ''): Tree {
  const found = objects.filter((object) => object.kind === kind && object.metadata.name.endsWith(name))
  if (found.length !== 1)
    throw new Error(`Expected one ${kind} with a name that ends with "${name}", found ${found.length}`)
  return found[0]
}

export function kinds(objects: Tree[]): string[] {
  return objects.map(({ kind, metadata }) => `${kind} ${metadata.name}`)
}

/** The pod templates of all Deployments and StatefulSets. */
export function pods(objects: Tree[]): Tree[] {
  return objects
    .filter(({ kind }) => kind === 'Deployment' || kind === 'StatefulSet')
    .map(({ spec }) => spec.template)
}

/** The value of the option `--name=…` in a container's arguments; undefined when it is absent. */
export function flag(container: Tree, name: string): string | undefined {
  const argument = container.args.find((text: string) => text.startsWith(`--${name}=`))
  return argument?.slice(name.length + 3)
}

/** The sets of values in the chart's folder ci, with their file names. */
export async function examples(): Promise<[name: string, values: Tree][]> {
  const names = (await readdir(join(chart, 'ci'))).toSorted()
  return Promise.all(
    names.map(async (name): Promise<[string, Tree]> => [name, await readYaml(join('ci', name))]),
  )
}

/** Parses a YAML file. `path` is relative to the folder of the chart. */
export async function readYaml(path: string): Promise<Tree> {
  return parseDocument(await readFile(join(chart, path), 'utf8')).toJS()
}
