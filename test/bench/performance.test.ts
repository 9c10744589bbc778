// The published figures are the ones that were measured last.
import { execFile } from 'node:child_process'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { figure, isMet, tablesOf } from '../../bench/speed/tables.mjs'

const root = fileURLToPath(new URL('../../', import.meta.url))

test('docs/performance.md and its chart are up to date', async () => {
  const { stderr } = await promisify(execFile)(process.execPath, ['scripts/performance.mjs', '--check'], {
    cwd: root,
  })
  expect(stderr).toBe('')
})

test('every result belongs to a scenario', async () => {
  const scenarios = (await readdir(join(root, 'bench/speed'))).filter((file) => file.endsWith('.bench.ts'))
  for (const file of await readdir(join(root, 'bench/results')))
    expect(scenarios).toContain(file.replace('.json', '.bench.ts'))
})

test('the chart names every subject of every group', async () => {
  const chart = await readFile(join(root, 'docs/images/deliveries.svg'), 'utf8')
  for (const text of ['30,000 deliveries/s', '300,000 deliveries/s', 'bare ws loop', 'Socket.IO'])
    expect(chart).toContain(text)
})

test('a missed target is shown as missed', () => {
  const target = { metric: 'p99', value: 1.3, required: 1.2, is: 'atMost' } as const
  expect([isMet(target), isMet({ ...target, is: 'atLeast' })]).toEqual([false, true])
  const table = tablesOf({
    title: 'One',
    conditions: 'All.',
    columns: [{ key: 'rss', title: 'RSS', unit: 'bytes' }],
    groups: [{ title: 'few', rows: [{ subject: 'ours', values: { rss: 10_240 } }] }],
    targets: [target],
    rounds: 1,
    machine: { cores: 2, processor: 'any', node: 'v20', date: '2026-01-01', others: 0 },
  })
  expect(table).toContain('| ours | 10.0 KiB |')
  expect(table).toContain('| p99 | 1.30 × | ≤ 1.20 × | **no** |')
})

test.each([
  [123_456.7, 'count', '123,457'],
  [9.876, 'ms', '9.88 ms'],
  [98.76, 'ms', '98.8 ms'],
  [4, undefined, '4.00 ×'],
] as const)('%d as %s reads %s', (value, unit, text) => {
  expect(figure(value, unit)).toBe(text)
})
