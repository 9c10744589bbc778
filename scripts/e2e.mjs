// `npm run test:e2e -- [--smoke] [--only PATTERN]`: the end-to-end tests against the cluster that KUBECONFIG names, then a table of their figures.
import { readFile, rm } from 'node:fs/promises'
import { availableParallelism, loadavg } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { provideHelm } from './helm.mjs'
import { locateKubectl } from './kubectl.mjs'
import { root, run, show } from './run.mjs'

const usage = `usage: npm run test:e2e -- [--smoke] [--only PATTERN]

Installs Parley from charts/parley into the cluster that KUBECONFIG names, tries it, and removes it. It makes the namespaces parley-e2e and
parley-e2e-*, and the CRDs; a cluster that has a Parley already is refused.

  --smoke           only what every merge must pass (five minutes)
  --only PATTERN    only tests whose names match

  KUBECONFIG          the cluster, and a login that may do everything in it
  PARLEY_IMAGE        the image under test, with its tag: on the nodes, or where they can pull it
  PARLEY_REDIS_IMAGE  the embedded Redis's image, with its tag (default: the chart's)
  PARLEY_E2E_URL      where this machine reaches the gateways' Service, such as ws://10.1.2.3:30080 (default: its cluster IP)

The autoscaling tests need the pod metric parley_gateway_connections in custom.metrics.k8s.io, from a Prometheus that looks for
prometheus.io/scrape annotations.`

/** @returns {Promise<string>} what is missing, in a sentence; empty when nothing is */
async function missing() {
  if (!process.env.KUBECONFIG)
    return 'KUBECONFIG is not set: it names the cluster in which everything happens.'
  if (!process.env.PARLEY_IMAGE) return 'PARLEY_IMAGE is not set: it names the image under test.'
  const kubectl = await locateKubectl()
  if (!kubectl) return 'There is no kubectl on the PATH.'
  const { ok, output } = await run(kubectl, ['get', 'namespaces', '--request-timeout=10s'])
  if (!ok)
    // Its last line says it; those before it tell of each try.
    return `The cluster that KUBECONFIG (${process.env.KUBECONFIG}) names does not answer: ${output.trim().split('\n').at(-1)}`
  return provideHelm()
}

const { values } = parseArgs({
  options: {
    smoke: { type: 'boolean', default: false },
    only: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
})
if (values.help) {
  console.log(usage)
  process.exit()
}
const problem = await missing()
if (problem !== '') {
  console.error(problem)
  process.exit(2)
}

const figures = join(root, '.test-results/e2e-figures.jsonl')
await rm(figures, { force: true })

const args = ['node_modules/vitest/vitest.mjs', 'run', '-c', 'vitest.e2e.config.ts']
if (values.smoke) args.push('test/e2e/smoke.test.ts')
if (values.only !== undefined) args.push('-t', values.only)
process.exitCode = await show('node', args)

// Clients, gateways and Redis may share a machine: how long work waited for a core belongs to the times.
console.log(
  `\nload average of ${loadavg()
    .map((one) => one.toFixed(1))
    .join(', ')} on ${availableParallelism()} cores`,
)

const lines = (await readFile(figures, 'utf8').catch(() => '')).split('\n').filter((line) => line !== '')
console.log('\n| test | measured | value | bar |')
console.log('| --- | --- | ---: | ---: |')
for (const line of lines) {
  /** @type {{ test: string, what: string, value: number, unit?: 'ms' | '%', bar?: number }} */
  const { bar, test, unit, value, what } = JSON.parse(line)
  const withUnit = (/** @type {number} */ one) => (unit === undefined ? one : `${one} ${unit}`)
  console.log(`| ${test} | ${what} | ${withUnit(value)} | ${bar === undefined ? '—' : withUnit(bar)} |`)
}
