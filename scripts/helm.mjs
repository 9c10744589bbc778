// Helm, which renders the chart: where it lies on this machine, and how it gets there.
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { cacheFolder, ownCache } from './cache.mjs'
import { firstExecutable, locate } from './needs.mjs'
import { run } from './run.mjs'

/** Of the two majors that the chart is for, the older: what it renders the newer does as well. */
const version = '3.22.0'

const variable = 'PARLEY_HELM'

function ownFolder() {
  return ownCache(`helm-${version}`)
}

/**
 * Undefined when there is none. The variable alone counts when it is set, as for every program of needs.mjs.
 * @returns {Promise<string | undefined>}
 */
export async function locateHelm() {
  const found = await locate({ what: 'helm', variable, programs: ['helm'], aptPackage: '' })
  if (found || process.env[variable]) return found
  // The last is where a cluster that was built from Go modules keeps it.
  return firstExecutable([join(ownFolder(), 'helm'), join(cacheFolder(), 'kube-1.34.4', 'helm')])
}

/**
 * Builds what is missing. Go checks the module against its public checksums.
 * @returns {Promise<string>} what is wrong, in a sentence; empty when there is a helm
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
