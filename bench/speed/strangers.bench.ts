// Measures what a stranger does to others: one process attacks a gateway from one address without a token,
// while a client of another tenant publishes and connects. Prints its latencies beside those of a quiet run.
import { afterAll, expect, test } from 'vitest'
import { setTimeout as sleep } from 'node:timers/promises'
import { mintToken } from '../../src/auth/mint.js'
import { startScript } from './script.js'
import { endSubjects, parleyOnRedis } from './subjects.js'
import { acmeIssuer } from '../../test/support/policies.js'
import { rssBytesOf } from './usage.mjs'

afterAll(endSubjects)

const seconds = 8

const attacks: readonly (readonly [kind: string, title: string])[] = [
  ['', 'quiet'],
  ['documents', '40 sockets of pipelined documents, not read'],
  ['pipeline', 'one socket of pipelined 404s'],
  ['gets', '9,000 GETs/s of an endpoint'],
  ['sockets', '6,000 sockets that send nothing'],
  ['handshakes', '50 sockets of handshakes without connect'],
  ['', 'quiet again'],
]

interface Probed {
  readonly p50: number
  readonly p99: number
  readonly connected: number
  readonly refused: number
  readonly lost: number
}

test('strangers', async () => {
  const subject = await parleyOnRedis('Parley', { tenants: 2, forStrangers: true })
  const port = new URL(subject.url).port
  const token = await mintToken(acmeIssuer, {
    user: 'b',
    claims: {},
    expiresInS: 3_600,
    nowMs: Date.now(),
  })
  const rows: string[] = []
  const harmed: string[] = []
  for (const [kind, title] of attacks) {
    const before = rssBytesOf(subject.server)
    const attack = kind === '' ? undefined : startScript(kind, 'strangers.mjs', [kind, port])
    await sleep(1_000)
    const probe = startScript('the probe', 'strangers.mjs', ['probe', port, token, seconds])
    const probed = await probe.waitForOutput('its figures', (output) => {
      const json = /^probe (\{.*\})$/m.exec(output)?.[1]
      return json === undefined ? undefined : (JSON.parse(json) as Probed)
    })
    const growth = (rssBytesOf(subject.server) - before) / 1_048_576
    await attack?.kill()
    const { connected, lost, p50, p99, refused } = probed
    rows.push(
      `| ${title.padEnd(44)} | ${ms(p50)} | ${ms(p99)} | ${count(connected)} | ${count(refused)} | ${count(lost)} | ${growth.toFixed(0).padStart(7)} MB |`,
    )
    if (refused + lost > 0) harmed.push(title)
    await sleep(2_000)
  }
  console.log(
    [
      `\nA stranger at 127.0.0.66, and a client of another tenant: 50 messages and 12 connects per second, ${seconds} s.`,
      'The bar: p99 ≤ 2 × quiet + 10 ms, nothing refused or lost, and less than 64 MB.\n',
      `| ${'attack'.padEnd(44)} |      p50 |      p99 | connects | refused |    lost | memory     |`,
      `| ${'-'.repeat(44)} | -------- | -------- | -------- | ------- | ------- | ---------- |`,
      ...rows,
      '',
    ].join('\n'),
  )
  expect(harmed).toEqual([])
})

const ms = (value: number): string => `${value.toFixed(1)} ms`.padStart(8)
const count = (value: number): string => String(value).padStart(7)
