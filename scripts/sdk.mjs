// `npm run test:sdk -- [--only PATTERN] [--if-possible]`: tests the official SDKs of other languages against
// Parley.
import { parseOptions } from './parse-options.mjs'
import { provideJavaClient } from './java-client.mjs'
import { meetNeeds } from './meet-needs.mjs'
import { needs } from './needs.mjs'
import { providePythonClients } from './python-clients.mjs'
import { show } from './run.mjs'

const usage = `usage: npm run test:sdk -- [--only PATTERN] [--if-possible]

  --only PATTERN  only tests whose names match
  --if-possible   exit with 0 when a language or its packages are missing and cannot be installed`

const values = parseOptions(
  {
    only: { type: 'string' },
    'if-possible': { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
  usage,
)
if (values.help) {
  console.log(usage)
  process.exit()
}

/** @returns {Promise<string>} what is missing, in sentences; empty when nothing is */
async function missing() {
  const programs = await meetNeeds([needs.redis, needs.redisCli, needs.python, needs.javac, needs.maven])
  if (programs !== '') return programs
  return (await Promise.all([providePythonClients(), provideJavaClient()])).filter(Boolean).join('\n')
}

const problem = await missing()
if (problem !== '') {
  console.error(`The tests of SDKs of other languages did not run. ${problem}`)
  process.exit(values['if-possible'] ? 0 : 1)
}

const only = values.only === undefined ? [] : ['-t', values.only]
process.exitCode =
  (await show('node', ['scripts/build.mjs'])) ||
  (await show('node', ['node_modules/vitest/vitest.mjs', 'run', '-c', 'vitest.sdk.config.ts', ...only]))
