// The chart as helm renders it, for tests: objects to look at, or the sentence that refuses the values.
import { execFile } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseDocument, stringify } from 'yaml'
import { locateHelm } from '../../scripts/helm.mjs'

export const root = fileURLToPath(new URL('../..', import.meta.url))
export const chart = join(root, 'charts/parley')

/** Something of the API, or of the values: tests look into it without asking what it is first. */
// oxlint-disable-next-line typescript/no-explicit-any -- a test that reads `undefined` where a field is missing fails as it should
export type Tree = any

export interface Release {
  readonly name?: string
  readonly namespace?: string
}

const rendered = new Map<string, Promise<Tree[]>>()

/** Each set of values is rendered once. Rejects with what helm says when it refuses `values`. */
export function render(values: Tree = {}, release: Release = {}): Promise<Tree[]> {
  const key = JSON.stringify([values, release])
  const known = rendered.get(key) ?? renderAnew(values, release)
  rendered.set(key, known)
  return known
}

const parsed = new Map<string, Tree>()

/** CRDs are long and always the same: each document is read once. */
function parse(text: string): Tree {
  if (!parsed.has(text)) parsed.set(text, parseDocument(text).toJS())
  return parsed.get(text)
}

async function renderAnew(values: Tree, { name = 'parley', namespace = 'chat' }: Release): Promise<Tree[]> {
  const helm = await locateHelm()
  if (helm === undefined) throw new Error('There is no helm: scripts/test-setup.mjs gets one.')
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

/** The sentence with which helm refuses `values`; undefined when it takes them. */
export async function refusal(values: Tree): Promise<string | undefined> {
  return render(values).then(
    () => undefined,
    (error: unknown) => (error instanceof Error ? error.message : String(error)),
  )
}

/** The one object of that kind, by the last part of its name when there are several. */
export function find(objects: Tree[], kind: string, name = ''): Tree {
  const found = objects.filter((object) => object.kind === kind && object.metadata.name.endsWith(name))
  if (found.length !== 1) throw new Error(`There are ${found.length} of ${kind} …${name}`)
  return found[0]
}

export function kinds(objects: Tree[]): string[] {
  return objects.map(({ kind, metadata }) => `${kind} ${metadata.name}`)
}

/** The templates of all pods. */
export function pods(objects: Tree[]): Tree[] {
  return objects
    .filter(({ kind }) => kind === 'Deployment' || kind === 'StatefulSet')
    .map(({ spec }) => spec.template)
}

/** The value of a flag among a container's arguments. */
export function flag(container: Tree, name: string): string | undefined {
  const argument = container.args.find((text: string) => text.startsWith(`--${name}=`))
  return argument?.slice(name.length + 3)
}

/** The sets of values that the chart brings along, by file name. */
export async function examples(): Promise<[name: string, values: Tree][]> {
  const names = (await readdir(join(chart, 'ci'))).toSorted()
  return Promise.all(
    names.map(async (name): Promise<[string, Tree]> => [name, await readYaml(join('ci', name))]),
  )
}

/** Of the chart's folder. */
export async function readYaml(path: string): Promise<Tree> {
  return parseDocument(await readFile(join(chart, path), 'utf8')).toJS()
}
