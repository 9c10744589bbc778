// Writes what is made from the chart, and what of it is made from elsewhere: its README from values.yaml, its CRDs, policies and
// roles from manifests, and manifests/install from the whole. With --check it writes nothing and fails when a file is not current.
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { chartReadme } from './chart-readme.mjs'
import { putGenerated } from './generated.mjs'
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

/** @param {string} path @param {string | undefined} text undefined: it should not be there */
const put = (path, text) => putGenerated(path, text, 'npm run chart')

for (const [to, from] of Object.entries(copies)) {
  const [made, source] = await Promise.all([readFolder(to), readFolder(from)])
  for (const name of Object.keys({ ...made, ...source })) await put(join(to, name), source[name])
}
await put(`${chart}/README.md`, chartReadme(await readFile(join(root, chart, 'values.yaml'), 'utf8')))
// Last, since it renders the others.
await put(`${install}/parley.yaml`, await renderInstall())
