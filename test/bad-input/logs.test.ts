// Input of clients must not forge log lines, and secrets must not be logged, even when Parley itself fails.
import { describe, expect, test } from 'vitest'
import { MemoryBroker, MemoryBrokerData } from '../../src/broker/memory.js'
import { createLog } from '../../src/log.js'
import { systemClock } from '../../src/time.js'
import { tenantPolicy } from '../support/policies.js'
import type { Json } from '../support/raw-client.js'
import { expectRefusal, targetGateway } from '../support/raw-gateway.js'
import { chatPath } from '../support/raw-http.js'

const lines: string[] = []
const log = createLog({ level: 'trace', name: 'parley', write: (line) => void lines.push(line) })

const forged = '\r\n{"level":60,"msg":"forged"}\r\n\u001b[2J\u001b[31m\u009b31m\u2028\u2029\u202e'
const secrets = ['hunter2', 'a secret in a library’s error']

/** Fails like a Redis client: with the command and its arguments on the error. */
class FailingBroker extends MemoryBroker {
  override async publish(...args: Parameters<MemoryBroker['publish']>): ReturnType<MemoryBroker['publish']> {
    const [, { data, info }] = args
    const content = Buffer.from(data).toString()
    if (!content.includes('break')) return super.publish(...args)
    throw Object.assign(new Error(`cannot store ${content} of ${info?.user}`, { cause: new Error(forged) }), {
      code: 'ECONNRESET',
      command: { name: 'auth', args: ['parley', 'hunter2'] },
      options: { password: 'hunter2', nested: { deeper: { token: 'a secret in a library’s error' } } },
    })
  }
}

const policy = tenantPolicy()
const target = targetGateway(
  [policy],
  { log, broker: new FailingBroker(new MemoryBrokerData({ clock: systemClock })) },
  {
    extraPages: async (request) => {
      if (request.url?.startsWith('/broken')) throw new Error(`cannot answer ${request.url}`)
      return false
    },
  },
)

/**
 * Returns all lines so far, and asserts that each is one JSON object without control characters, and that
 * none holds a secret.
 */
function expectClean(tokens: readonly string[]): Json[] {
  for (const line of lines) {
    expect(line.endsWith('\n')).toBe(true)
    expect(line.slice(0, -1)).not.toMatch(/[\p{Cc}\p{Bidi_Control}\u2028\u2029]/u)
    for (const secret of [...secrets, ...tokens.flatMap((token) => token.split('.'))])
      expect(line).not.toContain(secret)
  }
  const entries = lines.map((line) => JSON.parse(line) as Json)
  expect(entries.map(({ msg }) => msg)).not.toContain('forged')
  return entries
}

describe('without a failure', () => {
  test('tokens in a query, header, subprotocol or command, valid or invalid, are not logged', async () => {
    const good = await target.running.token('alice')
    const bad = `${good.slice(0, -4)}AAAA`
    for (const token of [good, bad]) {
      await target.request({ target: `${chatPath}?token=${token}` })
      await target.request({ target: `${chatPath}/${token}?token=${token}` })
      await target.request({ target: `/nowhere/${token}` })
      await target.request({ headers: { Authorization: `Bearer ${token}` } })
      await target.request({ headers: { 'Sec-WebSocket-Protocol': `parley.chat.v1, ${token}` } })
      await target.request({ headers: { Authorization: `Bearer ${token}`, Origin: 'https://evil.example' } })
      await target.request({ target: `${chatPath}?token=${token}`, lines: ['broken header'] })
      const client = await target.upgrade({ target: '/demo/acme/connection/websocket' })
      client.send({ id: 1, connect: { token } })
      client.send({ id: 2, refresh: { token: bad } })
      await client.closed()
    }
    expectClean([good, bad])
  })

  test('control characters in names, texts, types, ids and paths forge no log line', async () => {
    const client = await target.chat('alice')
    for (const frame of [
      { type: forged, id: forged },
      { type: 'join_room', room: forged, id: 1 },
      { type: 'chat', content: forged },
      { type: 'direct_message', target_user: forged, content: forged, key: forged },
    ]) {
      client.send(frame)
    }
    client.send({ type: 'presence', room: 'general', id: 'end' })
    await client.json(({ event, id }) => event === 'ack' && id === 'end')
    await target.request({ target: '/demo/acme\u009b31m/ws?\u0085' })
    expectClean([])
  })
})

describe('when Parley fails', () => {
  test('in a publish: the log has stack and cause but no arguments, and the client gets a message', async () => {
    const token = await target.running.token('alice')
    const client = await target.chat('alice')
    client.send({ type: 'room_message', room: 'general', content: `break ${token} ${forged}`, id: 1 })
    target.expectedBugs += 1
    const answer = await client.json(({ event }) => event === 'error')
    expect(answer).toMatchObject({ id: 1, code: 'INTERNAL', message: expect.stringMatching(/log/) })
    expect(JSON.stringify(answer)).not.toMatch(/cannot store|break|hunter2|ECONNRESET/)

    const entries = expectClean([token])
    const entry = entries.find(({ msg }) => msg === 'command publish failed')
    expect(entry).toMatchObject({
      tenant: 'demo/acme',
      err: {
        code: 'ECONNRESET',
        message: expect.stringContaining('[token]'),
        stack: expect.stringContaining('caused by'),
      },
    })
    expect(Object.keys(entry?.['err']).toSorted()).toEqual(['code', 'message', 'stack', 'type'])
  })

  test('in a request: the log has the path without its query, and the browser gets a message', async () => {
    const token = await target.running.token('alice')
    const plain = { Upgrade: undefined, Connection: undefined }
    const answer = await target.request({
      target: `/broken/%0d%0a%1b[31m${'x'.repeat(300)}?token=${token}&access_token=${token}`,
      headers: plain,
    })
    target.expectedBugs += 1
    expectRefusal(answer, { status: 500, code: 'INTERNAL' })
    const entry = expectClean([token]).find(({ msg }) => msg === 'a request failed')
    expect(entry?.['url']).toMatch(/^\/broken\/%0d%0a%1b\[31mx+…$/)
    expect(entry?.['url'].length).toBeLessThan(210)
  })

  test('fields with sensitive names are redacted at every depth that Parley logs', () => {
    const token = 'a secret in a library’s error'
    log.warn({ token, request: { authorization: 'hunter2', headers: { password: 'hunter2' } } }, 'redacted')
    const entry = expectClean([]).find(({ msg }) => msg === 'redacted')
    expect(entry).toMatchObject({ token: '[redacted]', request: { headers: { password: '[redacted]' } } })
  })
})
