// `npm run test:e2e -- [--smoke] [--only PATTERN]`: runs the end-to-end tests against the cluster that
// KUBECONFIG names, then prints a table of their measurements.
import { readFile, rm } from 'node:fs/promises'
import { availableParallelism, loadavg } from 'node:os'
import { join } from 'node:path'
import { parseOptions } from './parse-options.mjs'
import { provideHelm } from './helm.mjs'
import { locateKubectl } from './kubectl.mjs'
import { root, run, show } from './run.mjs'

const usage = `usage: npm run test:e2e -- [--smoke] [--only PATTERN]

Installs Parley from charts/parley into the cluster that KUBECONFIG names, tests it, and removes it. The run
creates the namespaces parley-e2e and parley-e2e-*, and the CRDs. It refuses a cluster in which Parley is
already installed.

  --smoke           run only the tests that every merge must pass (five minutes)
  --only PATTERN    run only tests whose names match

  KUBECONFIG          the cluster, with the permissions of a cluster administrator
  PARLEY_IMAGE        the image under test, with its tag: on the nodes, or in a registry that they can reach
  PARLEY_REDIS_IMAGE  the image of the embedded Redis, with its tag (default: that of the chart)
  PARLEY_E2E_URL      the URL of the gateways' Service for this machine, such as ws://10.1.2.3:30080
                      (default: its cluster IP)

The autoscaling tests need the pod metric parley_gateway_connections in custom.metrics.k8s.io, from a
Prometheus that discovers pods by prometheus.io/scrape annotations.`

/** @returns {Promise<string>} what is missing, in a sentence; empty when nothing is */
async function missing() {
  if (!process.env.KUBECONFIG) return 'KUBECONFIG is not set. It must name the cluster to test in.'
  if (!process.env.PARLEY_IMAGE) return 'PARLEY_IMAGE is not set. It must name the image under test.'
  const kubectl = await locateKubectl()
  if (!kubectl) return 'There is no kubectl on the PATH.'
  const { ok, output } = await run(kubectl, ['get', 'namespaces', '--request-timeout=10s'])
  if (!ok)
    // The last line of the output is the error. The lines before it describe the single attempts.
    return `The cluster that KUBECONFIG (${process.env.KUBECONFIG}) names does not answer: ${output.trim().split('\n').at(-1)}`
  return provideHelm()
}

const values = parseOptions(
  {
    smoke: { type: 'boolean', default: false },
    only: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
  usage,
)
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

// Clients, gateways and Redis may share a machine, so the load is needed to judge the times.
console.log(
  `\nload average of ${loadavg()
    .map((one) => one.toFixed(1))
    .join(', ')} on ${availableParallelism()} cores`,
)

const lines = (await readFile(figures, 'utf8').catch(() => '')).split('\n').filter((line) => line !== '')
console.log('\n| test | measured | value | target |')
console.log('| --- | --- | ---: | ---: |')
for (const line of lines) {
  /** @type {{ test: string, what: string, value: number, unit?: 'ms' | '%', target?: number }} */
  const { target, test, unit, value, what } = JSON.parse(line)
  const withUnit = (/** @type {number} */ one) => (unit === undefined ? one : `${one} ${unit}`)
  console.log(`| ${test} | ${what} | ${withUnit(value)} | ${target === undefined ? '—' : withUnit(target)} |`)
}
