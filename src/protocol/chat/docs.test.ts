// Compares docs/chat-protocol.md with the codec: every code, command and frame on the page must be real.
import { readFileSync } from 'node:fs'
import vm from 'node:vm'
import { describe, expect, test, vi } from 'vitest'
import type { Publication } from '../../broker/broker.js'
import { errorCodes } from '../../errors.js'
import { chatCodec } from './codec.js'
import { closeCodes } from '../codes.js'

const page = readFileSync(new URL('../../../docs/chat-protocol.md', import.meta.url), 'utf8')

/** Returns the fenced block that matches `pattern`. */
function block(language: string, pattern: RegExp): string {
  const blocks = Array.from(page.matchAll(/^```(\w*)\n(.*?)^```$/gms), ([, name, text]) => ({
    name,
    text: text ?? '',
  }))
  const found = blocks.find(({ name, text }) => name === language && pattern.test(text))
  if (!found) throw new Error(`no such block: ${language} ${pattern}`)
  return found.text
}

test.each(Object.keys(errorCodes))('names the error code %s', (code) => {
  expect(page).toContain(`\`${code}\``)
})

test.each(Object.values(closeCodes))('names the close code $code', ({ code, reason }) => {
  expect(page).toMatch(new RegExp(`\\| ${code} +\\| ${reason} +\\||${code}.*\\([^)]*\\)`))
})

test('names every command and no others', () => {
  const [item] = chatCodec.decode(Buffer.from('{"type":""}'))
  const known =
    item?.kind === 'refused' ? /the types are (.*)$/.exec(item.error.message)?.[1]?.split(', ') : undefined
  const section = page.slice(page.indexOf('## Commands'), page.search(/\| field +\|/))
  const listed = Array.from(section.matchAll(/^\| `(\w+)` +\|/gm), ([, type]) => type)
  // The head of the table contains `type`.
  expect(new Set(listed)).toEqual(new Set(['type', ...(known ?? [])]))
})

describe('the session by hand', () => {
  const lines = block('', /wscat/).split('\n')

  test.each(lines.filter((line) => line.startsWith('> ')))('%s', (line) => {
    const [item] = chatCodec.decode(Buffer.from(line.slice(2)))
    if (item?.kind !== 'refused') return expect(item?.kind).toBe('command')
    expect(`< ${Buffer.from(chatCodec.error(item.ref, item.error)).toString()}`).toBe(
      lines[lines.indexOf(line) + 1],
    )
  })

  test('shows frames exactly as the codec encodes them', () => {
    const info = { user: 'alice', client: 'alices-phone', name: 'Alice' }
    const top = { epoch: 'Vb27tLwe.1381', offset: 4294967311 }
    const hello: Publication = { ...top, data: Buffer.from('{"text":"hello"}'), timeMs: 1790000000000, info }
    const limits = { messageBytes: 16384, publishPerSecond: 200, commandsPerSecond: 50, subscriptions: 100 }
    const subscribed = {
      kind: 'subscribe',
      publications: [],
      wasRecovering: false,
      recovered: false,
    } as const
    const ref = (id?: string): unknown => ({ id, newestFirst: false })
    const position = { epoch: 'Vb27tLwe.1381', offset: 4294967310 }
    const payloads = [
      ...chatCodec.reply(undefined, {
        kind: 'connect',
        client: info.client,
        user: info.user,
        pingIntervalS: 25,
        subscriptions: [],
        limits,
      }),
      ...chatCodec.reply(ref('1'), { ...subscribed, channel: 'garden', position }),
      chatCodec.publication('garden', hello),
      ...chatCodec.reply(ref('2'), {
        kind: 'publish',
        channel: 'garden',
        position: top,
        durability: 'replicated',
      }),
      ...chatCodec.reply(ref(), {
        kind: 'history',
        channel: 'garden',
        page: { publications: [hello], top, continuous: true },
      }),
      ...chatCodec.reply(ref(), { kind: 'unsubscribe', channel: 'garden' }),
    ]
    const shown = lines.filter((line) => line.startsWith('< ') && !line.includes('UNKNOWN_TYPE'))
    expect(shown).toEqual(payloads.map((payload) => `< ${Buffer.from(payload).toString()}`))
  })
})

describe('the browser example', () => {
  /** Runs the code of the example with a fake socket, token and log. */
  async function browse(): Promise<{ sockets: FakeSocket[]; logged: string[]; later: (() => void)[] }> {
    const sockets: FakeSocket[] = []
    const logged: string[] = []
    const later: (() => void)[] = []
    vm.runInNewContext(block('js', /connect/), {
      WebSocket: class extends FakeSocket {
        constructor(url: string, protocols: string[]) {
          super(url, protocols)
          sockets.push(this)
        }
      },
      getToken: () => Promise.resolve('a.b.c'),
      log: { append: (text: string) => logged.push(text) },
      setTimeout: (callback: () => void) => later.push(callback),
    })
    await vi.waitFor(() => expect(sockets).toHaveLength(1))
    return { sockets, logged, later }
  }

  const hello: Publication = {
    epoch: 'e',
    offset: 7,
    data: Buffer.from('"<b>hi</b>"'),
    timeMs: 1,
    info: { user: 'bob', client: 'c' },
  }

  test('joins, logs, answers pings and recovers after a reconnect', async () => {
    const { sockets, logged, later } = await browse()
    expect(sockets[0]?.protocols).toEqual(['parley.chat.v1', 'a.b.c'])
    sockets[0]?.onopen?.()
    sockets[0]?.receive(chatCodec.publication('lobby', { ...hello, offset: 9 }))
    sockets[0]?.receive(chatCodec.publication('garden', hello))
    sockets[0]?.receive(chatCodec.ping)
    expect(logged).toEqual(['bob: <b>hi</b>\n'])

    sockets[0]?.onclose?.(closeCodes.shutdown)
    later[0]?.()
    await vi.waitFor(() => expect(sockets).toHaveLength(2))
    sockets[1]?.onopen?.()
    expect(sockets.map(({ received }) => received)).toMatchObject([
      [{ command: { kind: 'subscribe', channel: 'garden', since: undefined } }, { kind: 'pong' }],
      [{ command: { kind: 'subscribe', channel: 'garden', since: { epoch: 'e', offset: 7 } } }],
    ])
  })

  test.each(Object.values(closeCodes))('reconnects after $code only when it should', async ({ code }) => {
    const { sockets, later } = await browse()
    sockets[0]?.onclose?.({ code })
    expect(later).toHaveLength(code < 3500 || (code >= 4000 && code < 4500) ? 1 : 0)
  })
})

/** A socket that records what the codec decodes from the frames which the page sends. */
class FakeSocket {
  readonly url: string
  readonly protocols: string[]
  readonly received: unknown[] = []
  onopen?: () => void
  onmessage?: (event: { data: string }) => void
  onclose?: (event: { code: number }) => void

  constructor(url: string, protocols: string[]) {
    this.url = url
    this.protocols = protocols
  }

  send(text: string): void {
    this.received.push(...chatCodec.decode(Buffer.from(text)))
  }

  receive(payload: Uint8Array): void {
    this.onmessage?.({ data: Buffer.from(payload).toString() })
  }
}
