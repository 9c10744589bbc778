// Generates docs/performance.md and its chart from bench/results, where `npm run bench` stores its results.
// With --check it writes nothing, and fails when a file is not up to date.
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { tablesOf } from '../bench/speed/tables.mjs'
import { putGenerated } from './generated.mjs'
import { deliveriesChart } from './performance/chart.mjs'
import { closing, introduction, wrapParagraphs } from './performance/text.mjs'
import { root } from './run.mjs'

/** @typedef {import('../bench/speed/tables.mjs').StoredResult} StoredResult */

const folder = join(root, 'bench/results')
const scenarios = [
  'fan-out',
  'one-channel',
  'publishes',
  'idle',
  'connects',
  'revocations',
  'growth',
  'neighbours',
]

/** @type {Map<string, StoredResult>} */
const results = new Map()
for (const file of await readdir(folder)) {
  const name = file.replace(/\.json$/, '')
  if (!scenarios.includes(name)) throw new Error(`bench/results/${file} belongs to no scenario`)
  results.set(name, JSON.parse(await readFile(join(folder, file), 'utf8')))
}

/** @param {StoredResult} result */
const measuredOn = ({ machine, rounds }) => {
  const { cores, date, node, others, processor } = machine
  const percent = Math.round(others * 100)
  const shared =
    percent >= 10 ? `of which other programs used ${percent} % before the scenario began` : 'otherwise idle'
  const warning =
    percent >= 50
      ? ' **The machine was too busy for these figures to be reliable:** a server that gets little CPU time finds more to do in each turn of its event loop, which favours servers that share writes.'
      : ''
  return `${date}, ${rounds} rounds, Node ${node}, ${cores} cores (${processor}), ${shared}.${warning}`
}

const sections = scenarios.flatMap((name) => {
  const result = results.get(name)
  if (!result) return []
  const [heading = '', ...rest] = tablesOf(result).split('\n')
  return [heading, '', `\`npm run bench -- --only ${name}\` · ${measuredOn(result)}`, ...rest]
})

/** @type {Record<string, string>} */
const files = {
  'docs/performance.md': [introduction, wrapParagraphs(sections.join('\n')), closing].join('\n'),
}
const fanOut = results.get('fan-out')
if (fanOut) files['docs/images/deliveries.svg'] = deliveriesChart(fanOut)

for (const [path, text] of Object.entries(files))
  await putGenerated(path, text, 'node scripts/performance.mjs')
