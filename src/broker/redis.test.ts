import { spawn, type ChildProcess } from 'node:child_process'
import { mkdtempSync } from 'node:fs'
import { afterAll, beforeAll } from 'vitest'
import { createLog } from '../log.js'
import { createLink } from '../redis/link.js'
import { createLocator } from '../redis/locator.js'
import { parseRedisUrl } from '../redis/url.js'
import { systemClock, TimerWheel } from '../time.js'
import { Redis } from 'ioredis'
import { brokerContract } from './broker.contract.js'
import { openRedisBroker } from './redis-open.js'

let server: ChildProcess
const port = 7399
beforeAll(async () => {
  server = spawn('redis-server', ['--port', String(port), '--save', '', '--dir', mkdtempSync('/tmp/rt-')], { stdio: 'ignore' })
  const probe = new Redis(port, { retryStrategy: () => 50, maxRetriesPerRequest: null })
  probe.on('error', () => {})
  await probe.ping()
  probe.disconnect()
})
afterAll(() => void server.kill('SIGKILL'))

async function open() {
  const admin = new Redis(port)
  await admin.flushall()
  admin.disconnect()
  const stop = new AbortController()
  const log = createLog({ level: 'warn', name: 'test' })
  const make = (gatewayId: string) => {
    const target = parseRedisUrl(`redis://127.0.0.1:${port}`)
    if (target.kind === 'cluster') throw new Error('no')
    const locator = createLocator(target, { log })
    const wheel = new TimerWheel({ clock: systemClock, resolutionMs: 10 })
    wheel.run(stop.signal)
    void locator.run(stop.signal)
    return openRedisBroker({
      createLink: (role, prepare) => {
        const link = createLink(role, { locator, clock: systemClock, log, prepare, login: target.login })
        void link.run(stop.signal)
        return link
      },
      clock: systemClock, wheel, log, gatewayId, waitReplicas: () => locator.waitReplicas ?? 0, replicas: false, limits: { windowMs: 500 },
    })
  }
  return {
    broker: make('a'), peer: make('b'),
    advance: (ms: number) => new Promise<void>((r) => setTimeout(r, ms)),
    close: async () => { stop.abort() },
  }
}
brokerContract('RedisBroker', open, { reaches: 'accepted', historyTtlMs: 300, windowMs: 500, sizeSlack: 200, deadlineMs: 3000 })
