// Finds Helm, which renders the chart, or installs it.
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { cacheFolder, ownCache } from './cache.mjs'
import { firstExecutable, locate } from './needs.mjs'
import { run } from './run.mjs'

/**
 * The older of the two major versions that the chart supports. The newer one renders everything that the
 * older one does.
 */
const version = '3.22.0'

const variable = 'PARLEY_HELM'

function ownFolder() {
  return ownCache(`helm-${version}`)
}

/**
 * Finds helm. Returns undefined when there is none. If the environment variable is set, only the file that it
 * names is considered, as for every program of needs.mjs.
 * @returns {Promise<string | undefined>}
 */
export async function locateHelm() {
  const found = await locate({ what: 'helm', variable, programs: ['helm'], aptPackage: '' })
  if (found || process.env[variable]) return found
  // The last folder is where the tools of a local cluster install it.
  return firstExecutable([join(ownFolder(), 'helm'), join(cacheFolder(), 'kube-1.34.4', 'helm')])
}

/**
 * Builds helm if it is missing. Go verifies the module against the public checksum database.
 * @returns {Promise<string>} an error message; empty when helm is available
 */
export async function provideHelm() {
  if (await locateHelm()) return ''
  if (process.env[variable]) return `${variable} names no executable file.`
  console.log(`Building helm ${version} for the tests, once (about 3 minutes on two cores)`)
  await mkdir(ownFolder(), { recursive: true })
  const { ok, output } = await run(
    'go',
    ['install', '-ldflags=-s -w', `helm.sh/helm/v3/cmd/helm@v${version}`],
    {
      env: { GOBIN: ownFolder(), GOFLAGS: '-mod=mod -buildvcs=false', GOWORK: 'off', CGO_ENABLED: '0' },
    },
  )
  if (ok) return ''
  return `The tests need helm 3 or 4: install it, set ${variable} to its path, or install Go 1.26 or newer.\n${output.slice(-2_000)}`
}
