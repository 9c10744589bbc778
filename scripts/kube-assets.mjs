// Finds, downloads or builds a real API server for the tests: etcd, kube-apiserver and kubectl.
import { createHash } from 'node:crypto'
import { access, constants, mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { cacheFolder, ownCache, provideFolder } from './cache.mjs'
import { run } from './run.mjs'

const programs = ['etcd', 'kube-apiserver', 'kubectl']

/**
 * Version 1.34.4 of the module k8s.io/kubernetes goes with version 0.34.4 of the other Kubernetes modules.
 */
const built = { kubernetes: '1.34.4', modules: '0.34.4', etcd: '3.6.4' }

/** The official archive of the same minor version, and the SHA-256 that it must have. */
const archive = {
  version: '1.34.1',
  sha256: /** @type {Record<string, string>} */ ({
    'linux-amd64': 'c8500090806ed5ce4064eeeb2a5666476a5168c1f4ff0eadd54fe59b22c4baa7',
    'linux-arm64': 'cb56759108ea15933abf79d8573bbf66cca8c13e20425d7bc9f95941a060649d',
    'darwin-amd64': '84d47d6c3a2fa4d14571249b4cccfafad1eb77087bb680693553b438b8ec8c43',
    'darwin-arm64': 'f25c213bc88582750935b370fa2c6108f0259b9c8f59ece5a82345d48858fc7d',
  }),
}
const connectMsMax = 10_000
const downloadMsMax = 300_000

const variable = 'KUBEBUILDER_ASSETS'

function ownFolder() {
  return ownCache('kube-1.34')
}

/**
 * Finds the folder with all the programs. If the environment variable is set, only the folder that it names
 * is considered, as for every program of needs.mjs.
 * @returns {Promise<string | undefined>} undefined when there is none
 */
export async function locateKubeAssets() {
  const named = process.env[variable]
  // The second folder is where the tools of a local cluster install them.
  const folders = named ? [named] : [ownFolder(), join(cacheFolder(), `kube-${built.kubernetes}`)]
  for (const folder of folders) if (await isComplete(folder)) return folder
  return undefined
}

/** @param {string} folder */
async function isComplete(folder) {
  try {
    await Promise.all(programs.map((program) => access(join(folder, program), constants.X_OK)))
    return true
  } catch {
    return false
  }
}

/**
 * Downloads or builds missing programs.
 * @returns {Promise<string>} an error message; empty when the programs are available
 */
export async function provideKubeAssets() {
  if (await locateKubeAssets()) return ''
  const named = process.env[variable]
  if (named) return `${variable} is ${named}, but that folder does not contain all of ${programs.join(', ')}.`

  // An incomplete folder of an earlier version of this script would count as complete.
  await rm(ownFolder(), { recursive: true, force: true })
  const fetched = await provideFolder(ownFolder(), fetchArchive)
  if (fetched === '') return ''
  console.log(
    `Building etcd and kube-apiserver for the tests, once (about 10 minutes on two cores): ${fetched}`,
  )
  const problem = await provideFolder(ownFolder(), build)
  if (problem === '') return ''
  return [
    `The tests need ${programs.join(', ')} of Kubernetes 1.34: set ${variable} to their folder, let this machine reach github.com, or install Go 1.24 or newer.`,
    `The archive: ${fetched}`,
    `The build: ${problem}`,
  ].join('\n')
}

/** @param {string} folder */
async function fetchArchive(folder) {
  const platform = `${process.platform}-${process.arch === 'x64' ? 'amd64' : process.arch}`
  const sha256 = archive.sha256[platform]
  if (sha256 === undefined) return `there is no archive for ${platform}.`
  const name = `envtest-v${archive.version}`
  const url = `https://github.com/kubernetes-sigs/controller-tools/releases/download/${name}/${name}-${platform}.tar.gz`
  const bytes = await download(url)
  if (typeof bytes === 'string') return bytes
  const found = createHash('sha256').update(bytes).digest('hex')
  if (found !== sha256) return `${url} has the SHA-256 ${found}, not the pinned ${sha256}.`

  const file = join(folder, 'archive.tar.gz')
  await writeFile(file, bytes)
  const unpacked = await run('tar', ['-xzf', file, '-C', folder, '--strip-components=2'])
  await rm(file)
  return unpacked.ok ? '' : unpacked.output
}

/**
 * @param {string} url
 * @returns {Promise<Uint8Array | string>} the bytes, or an error message
 */
async function download(url) {
  const controller = new AbortController()
  // The timeout for the first response is short, so that a missing network is detected quickly. The download
  // itself may take longer.
  let timer = setTimeout(() => controller.abort(), connectMsMax)
  try {
    const response = await fetch(url, { signal: controller.signal })
    if (!response.ok) return `${url} answers ${response.status}.`
    clearTimeout(timer)
    timer = setTimeout(() => controller.abort(), downloadMsMax)
    return new Uint8Array(await response.arrayBuffer())
  } catch {
    return `${url} cannot be reached.`
  } finally {
    clearTimeout(timer)
  }
}

/** @param {string} folder */
async function build(folder) {
  const version = await run('go', ['version'])
  if (!version.ok) return 'there is no Go on this machine.'

  const work = join(folder, 'work')
  const modules = { etcd: join(work, 'etcd'), kubernetes: join(work, 'kubernetes') }
  for (const module of Object.values(modules)) await mkdir(module, { recursive: true })
  await writeFile(
    join(modules.etcd, 'go.mod'),
    moduleFile('go.etcd.io/etcd/server/v3', { version: built.etcd }),
  )
  const requirements = await kubernetesReplacements()
  if (typeof requirements === 'string') return requirements
  await writeFile(
    join(modules.kubernetes, 'go.mod'),
    moduleFile('k8s.io/kubernetes', { version: built.kubernetes, replacements: requirements }),
  )

  // An API server that does not know its version disables every versioned feature.
  const [major, minor] = built.kubernetes.split('.')
  const stamp = { gitVersion: `v${built.kubernetes}`, gitMajor: major, gitMinor: minor }
  const stamps = Object.entries(stamp).map(
    ([name, value]) => `-X k8s.io/component-base/version.${name}=${value}`,
  )
  const steps = [
    { module: modules.etcd, out: join(folder, 'etcd'), packages: ['go.etcd.io/etcd/server/v3'], flags: [] },
    {
      module: modules.kubernetes,
      out: `${folder}/`,
      packages: ['k8s.io/kubernetes/cmd/kube-apiserver', 'k8s.io/kubernetes/cmd/kubectl'],
      flags: stamps,
    },
  ]
  for (const { module, out, packages, flags } of steps) {
    const ldflags = ['-s', '-w', ...flags].join(' ')
    const args = ['-C', module, 'build', '-mod=mod', '-buildvcs=false', '-ldflags', ldflags, '-o', out]
    const { ok, output } = await run('go', [...args, ...packages], {
      env: { CGO_ENABLED: '0', GOWORK: 'off' },
    })
    if (!ok) return output.slice(-2_000)
  }
  await rm(work, { recursive: true })
  return ''
}

/**
 * @param {string} path
 * @param {{ version: string, replacements?: string[] }} options
 */
function moduleFile(path, { version, replacements = [] }) {
  return ['module build', 'go 1.24.0', `require ${path} v${version}`, ...replacements, ''].join('\n')
}

/**
 * Inside its repository, Kubernetes takes its other modules from folders; outside, they are published with a
 * version.
 * @returns {Promise<string[] | string>} lines of go.mod, or what is wrong
 */
async function kubernetesReplacements() {
  const downloaded = await run('go', ['mod', 'download', '-json', `k8s.io/kubernetes@v${built.kubernetes}`])
  if (!downloaded.ok) return downloaded.output.slice(-2_000)
  const { GoMod } = /** @type {{ GoMod: string }} */ (JSON.parse(jsonIn(downloaded.output)))
  const read = await run('go', ['mod', 'edit', '-json', GoMod])
  if (!read.ok) return read.output
  const { Replace } = /** @type {{ Replace: { Old: { Path: string }, New: { Path: string } }[] }} */ (
    JSON.parse(read.output)
  )
  return Replace.filter(({ New }) => New.Path.startsWith('./staging/')).map(
    ({ Old }) => `replace ${Old.Path} => ${Old.Path} v${built.modules}`,
  )
}

/** @param {string} output the output of Go: lines about its downloads, then the JSON */
function jsonIn(output) {
  return output.slice(output.indexOf('{'))
}
