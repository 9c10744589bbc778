// `npm run test:sdk -- [--only PATTERN] [--if-possible]`: the official SDKs of other languages against Parley.
import { spawn } from 'node:child_process'
import { parseArgs } from 'node:util'
import { provideJavaClient } from './java-client.mjs'
import { meetNeeds } from './meet-needs.mjs'
import { needs } from './needs.mjs'
import { providePythonClients } from './python-clients.mjs'
import { root } from './run.mjs'

const usage = `usage: npm run test:sdk -- [--only PATTERN] [--if-possible]

  --only PATTERN  only tests whose names match
  --if-possible   where a language is missing and cannot be installed, say so and end well`

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    'if-possible': { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})
if (values.help) {
  console.log(usage)
  process.exit()
}

const missing = await meetNeeds([needs.redis, needs.redisCli, needs.python, needs.javac, needs.maven])
if (missing !== '') {
  console.error(`The SDKs of other languages were not run. ${missing}`)
  process.exit(values['if-possible'] ? 0 : 1)
}
const problems = (await Promise.all([providePythonClients(), provideJavaClient()])).filter(Boolean)
if (problems.length > 0) {
  console.error(problems.join('\n'))
  process.exit(1)
}

/** @param {string[]} args @returns {Promise<number>} */
const shown = (...args) =>
  new Promise((resolve) => {
    spawn('node', args, { cwd: root, stdio: 'inherit' }).on('close', (code) => resolve(code ?? 1))
  })

const only = values.only === undefined ? [] : ['-t', values.only]
process.exitCode =
  (await shown('scripts/build.mjs')) ||
  (await shown('node_modules/vitest/vitest.mjs', 'run', '-c', 'vitest.sdk.config.ts', ...only))
