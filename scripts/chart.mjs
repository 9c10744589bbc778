// Writes what is made from the chart, and what of it is made from elsewhere: its README from values.yaml, its CRDs, policies and
// roles from manifests, and manifests/install from the whole. With --check it writes nothing and fails when a file is not current.
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { chartReadme } from './chart-readme.mjs'
import { locateHelm } from './helm.mjs'
import { root, run } from './run.mjs'

const chart = 'charts/parley'
const install = 'manifests/install'

/** Folders of the chart that are copies of others. */
const copies = Object.fromEntries(
  ['crds', 'policies', 'rbac'].map((name) => [`${chart}/files/${name}`, `manifests/${name}`]),
)

/**
 * @param {string} folder
 * @returns {Promise<Record<string, string>>} texts by name; empty when the folder is not there
 */
async function readFolder(folder) {
  const names = await readdir(join(root, folder)).catch(() => [])
  const files = names.filter((name) => name.endsWith('.yaml'))
  const texts = await Promise.all(files.map((name) => readFile(join(root, folder, name), 'utf8')))
  return Object.fromEntries(files.map((name, index) => [name, texts[index] ?? '']))
}

/** The chart as plain manifests: without what would make kubectl's objects look like Helm's. */
async function renderInstall() {
  const helm = await locateHelm()
  if (helm === undefined) throw new Error('helm is missing: `npm test` gets one, or set PARLEY_HELM')
  const args = ['template', 'parley', chart, '--namespace=parley', `--values=${install}/values.yaml`]
  const { ok, output } = await run(helm, [...args, '--kube-version=1.34.0', '--skip-tests'])
  if (!ok) throw new Error(output)
  const ofHelm = /^ +(app\.kubernetes\.io\/managed-by: Helm|helm\.sh\/chart: .*)\n/gm
  return `# Written by \`npm run chart\` from ${chart}. Do not edit: a test compares.\n${output.replaceAll(ofHelm, '')}`
}

/** @type {string[]} */
const stale = []
const check = process.argv.includes('--check')

/**
 * @param {string} path
 * @param {string | undefined} text undefined: it should not be there
 */
async function put(path, text) {
  const file = join(root, path)
  const written = await readFile(file, 'utf8').catch(() => undefined)
  if (written === text) return
  stale.push(path)
  if (check) return
  await mkdir(dirname(file), { recursive: true })
  await (text === undefined ? rm(file) : writeFile(file, text))
  console.log(`${text === undefined ? 'removed' : 'wrote'} ${path}`)
}

for (const [to, from] of Object.entries(copies)) {
  const [made, source] = await Promise.all([readFolder(to), readFolder(from)])
  for (const name of Object.keys({ ...made, ...source })) await put(join(to, name), source[name])
}
await put(`${chart}/README.md`, chartReadme(await readFile(join(root, chart, 'values.yaml'), 'utf8')))
// Last, since it renders the others.
await put(`${install}/parley.yaml`, await renderInstall())

if (check && stale.length > 0) {
  for (const path of stale) console.error(`${path} is not current: run "npm run chart" and commit it`)
  process.exitCode = 1
}
