import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createTcpServer, type AddressInfo } from 'node:net'
import { gzipSync } from 'node:zlib'
import { afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { ManualClock, testKey, type TestKey } from './auth.testing.js'
import { jwksBytesMax } from './jwks-fetch.js'
import { fetchesMax, FetchSlots } from './fetch-slots.js'
import { jwksAgeMaxMs, jwksCooldownMs, lookupBurst, lookupIntervalMs, RemoteJwks } from './jwks-remote.js'
import { KeySet, KeysUnavailableError } from './key-set.js'
import { jwksSources } from './keys.js'
import { confirmMs } from './unknown-keys.js'

let first: TestKey
let second: TestKey
let clock: ManualClock
let server: Server
let uri: string
let requests: number
let answer: (request: IncomingMessage, response: ServerResponse) => unknown
let opened: RemoteJwks[]
const onProblem = vi.fn<(sentence: string) => void>()
const onKeysChanged = vi.fn<() => void>()

beforeAll(async () => {
  first = await testKey('ES256', 'first')
  second = await testKey('ES256', 'second')
})

beforeEach(async () => {
  onProblem.mockReset()
  onKeysChanged.mockReset()
  clock = new ManualClock()
  requests = 0
  opened = []
  server = createServer((request, response) => {
    requests += 1
    answer(request, response)
  })
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
  uri = `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks.json`
  serve(first)
})

afterEach(async () => {
  for (const keys of opened) keys.close()
  server.closeAllConnections()
  await new Promise((closed) => server.close(closed))
})

interface OpenOptions {
  uri?: string
  allowPrivate?: boolean
  timeoutMs?: number
  slots?: FetchSlots
}

function open(options: OpenOptions = {}): RemoteJwks {
  const keys = new RemoteJwks(options.uri ?? uri, {
    clock,
    allowPrivate: options.allowPrivate ?? true,
    keyIdPrefix: 'idp/',
    build: (jwks) => new KeySet(jwksSources('idp', jwks, () => {})),
    onProblem,
    onKeysChanged,
    slots: options.slots ?? new FetchSlots(fetchesMax),
    timeoutMs: options.timeoutMs ?? 5_000,
  })
  opened.push(keys)
  return keys
}

function serve(...keys: TestKey[]): void {
  answer = (_, response) => response.end(JSON.stringify({ keys: keys.map(({ jwk }) => jwk) }))
}

/** Writes `text` every few milliseconds until the client closes the connection. */
function drip(response: ServerResponse, text: string): void {
  const interval = setInterval(() => response.write(text), 5)
  response.on('close', () => clearInterval(interval))
}

async function countFor(keys: RemoteJwks, kid?: string): Promise<number> {
  return (await keys.candidates({ alg: 'ES256', kid })).length
}

async function idFor(keys: RemoteJwks, kid: string): Promise<string> {
  const [candidate] = await keys.candidates({ alg: 'ES256', kid })
  return candidate!.keyId
}

describe('fetching', () => {
  test('happens on the first call, once for all concurrent calls', async () => {
    const keys = open()
    expect(requests).toBe(0)
    await Promise.all(Array.from({ length: 50 }, () => countFor(keys, 'first')))
    expect(requests).toBe(1)
    expect(await countFor(keys, 'first')).toBe(1)
    expect(await countFor(keys)).toBe(1)
  })

  test('is repeated at once for a kid that was not seen before, and finds the rotated key', async () => {
    const keys = open()
    await countFor(keys, 'first')
    serve(first, second)
    expect(await countFor(keys, 'second')).toBe(1)
    expect(await countFor(keys, 'first')).toBe(1)
    expect(requests).toBe(2)
  })

  test('that happens before a new key is published is no proof: the answer is temporary until a later one', async () => {
    const keys = open()
    await countFor(keys, 'first')
    await expect(countFor(keys, 'second')).rejects.toMatchObject({
      name: 'KeysUnavailableError',
      retryAfterMs: confirmMs,
    })
    clock.advance(10_000)
    serve(first, second)
    await expect(countFor(keys, 'second')).rejects.toMatchObject({ retryAfterMs: confirmMs - 10_000 })
    expect(requests).toBe(2)
    clock.advance(confirmMs - 10_000)
    expect(await countFor(keys, 'second')).toBe(1)
    expect(requests).toBe(3)
  })

  test('for the first time is no proof either', async () => {
    const keys = open()
    await expect(countFor(keys, 'second')).rejects.toMatchObject({ retryAfterMs: confirmMs })
    serve(first, second)
    clock.advance(confirmMs)
    expect(await countFor(keys, 'second')).toBe(1)
    expect(requests).toBe(2)
  })

  test('for another key does not shorten the time, and brings the key when it is there', async () => {
    const keys = open()
    await countFor(keys, 'first')
    await expect(countFor(keys, 'second')).rejects.toBeInstanceOf(KeysUnavailableError)
    clock.advance(10_000)
    // The client waits for the fetch that another kid has caused.
    const answers = await Promise.allSettled([countFor(keys, 'other'), countFor(keys, 'second')])
    expect(answers.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
    clock.advance(10_000)
    serve(first, second)
    await expect(countFor(keys, 'another')).rejects.toBeInstanceOf(KeysUnavailableError)
    expect(await countFor(keys, 'second')).toBe(1)
  })

  test('twice in 30 s proves that a kid does not exist, for all clients and for 30 s', async () => {
    const keys = open()
    await countFor(keys, 'first')
    await expect(countFor(keys, 'second')).rejects.toBeInstanceOf(KeysUnavailableError)
    clock.advance(confirmMs)
    expect(await Promise.all([countFor(keys, 'second'), countFor(keys, 'second')])).toEqual([0, 0])
    clock.advance(confirmMs - 1)
    expect(await countFor(keys, 'second')).toBe(0)
    expect(requests).toBe(3)
    clock.advance(1)
    await expect(countFor(keys, 'second')).rejects.toBeInstanceOf(KeysUnavailableError)
    expect(requests).toBe(4)
  })

  test('long ago proves nothing', async () => {
    const keys = open()
    await expect(countFor(keys, 'second')).rejects.toBeInstanceOf(KeysUnavailableError)
    clock.advance(jwksAgeMaxMs)
    await expect(countFor(keys, 'second')).rejects.toMatchObject({ retryAfterMs: confirmMs })
  })

  test('is repeated at most three times at once for invented kids, and then once in ten seconds', async () => {
    const keys = open()
    await countFor(keys, 'first')
    let invented = 0
    const flood = async (): Promise<Set<unknown>> => {
      const answers = await Promise.allSettled(
        Array.from({ length: 200 }, () => countFor(keys, `made-up-${(invented += 1)}`)),
      )
      return new Set(answers.map((one) => (one.status === 'fulfilled' ? one.value : one.reason.name)))
    }
    for (let round = 1; round <= lookupBurst; round += 1) {
      // All kids of one round wait for the same fetch.
      expect(await flood()).toEqual(new Set(['KeysUnavailableError']))
      expect(requests).toBe(1 + round)
    }
    expect(await flood()).toEqual(new Set(['KeysUnavailableError']))
    expect(requests).toBe(1 + lookupBurst)
    for (let round = 1; round <= 5; round += 1) {
      clock.advance(lookupIntervalMs)
      await flood()
      await flood()
      expect(requests).toBe(1 + lookupBurst + round)
    }
    serve(first, second)
    await expect(countFor(keys, 'second')).rejects.toBeInstanceOf(KeysUnavailableError)
    // A stranger's kid fetches the new key too.
    clock.advance(lookupIntervalMs)
    await expect(countFor(keys, 'made-up-again')).rejects.toBeInstanceOf(KeysUnavailableError)
    expect(await countFor(keys, 'second')).toBe(1)
  })

  test('happens once even when the answer takes longer than the cooldown', async () => {
    const held: ServerResponse[] = []
    answer = (_, response) => held.push(response)
    const keys = open()
    const waiting = [countFor(keys, 'first')]
    await vi.waitFor(() => expect(held).toHaveLength(1))
    clock.advance(jwksCooldownMs)
    waiting.push(countFor(keys, 'first'))
    held[0]?.end(JSON.stringify({ keys: [first.jwk] }))
    expect(await Promise.all(waiting)).toEqual([1, 1])
    expect(requests).toBe(1)
  })

  test('happens in the background of a valid token when the set is old', async () => {
    const keys = open()
    await countFor(keys, 'first')
    clock.advance(jwksAgeMaxMs + 1)
    expect(await countFor(keys, 'first')).toBe(1)
    await vi.waitFor(() => expect(requests).toBe(2))
  })

  test('is aborted by close()', async () => {
    answer = () => {}
    const keys = open()
    const waiting = countFor(keys, 'first')
    await vi.waitFor(() => expect(requests).toBe(1))
    keys.close()
    await expect(waiting).rejects.toBeInstanceOf(KeysUnavailableError)
    expect(onProblem).not.toHaveBeenCalled()
  })
})

describe('a provider that fails', () => {
  const failures: readonly [name: string, reason: string, answer: (response: ServerResponse) => unknown][] = [
    ['is down', 'status 503', (response) => response.writeHead(503).end()],
    ['closes the connection', 'socket hang up', (response) => response.destroy()],
    ['redirects', 'redirect', (response) => response.writeHead(302, { location: '/elsewhere' }).end()],
    ['sends HTML', 'not JSON', (response) => response.end('<html>')],
    [
      'sends half a body',
      'aborted',
      (response) => response.writeHead(200, { 'content-length': 99 }).write('{', () => response.destroy()),
    ],
    ['sends no key set', 'not a JSON Web Key Set', (response) => response.end('{"issuer":"x"}')],
    ['sends an empty key set', 'at least one key', (response) => response.end('{"keys":[]}')],
    ['sends strings instead of keys', 'not a JSON Web Key Set', (response) => response.end('{"keys":["x"]}')],
    [
      'sends no usable key',
      'no public key for signatures',
      (response) => response.end('{"keys":[{"kty":"oct","k":"AA"}]}'),
    ],
    [
      'sends too much',
      'longer than 65536 bytes',
      (response) => response.end(`{"keys":[{}],"x":"${'x'.repeat(jwksBytesMax)}"}`),
    ],
    ['never stops sending', 'longer than 65536 bytes', (response) => drip(response, 'x'.repeat(10_000))],
    [
      'compresses the answer',
      'compressed',
      (response) => response.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync('{}')),
    ],
    ['never answers', 'did not answer in time', () => {}],
    ['answers slowly', 'did not answer in time', (response) => drip(response, ' ')],
  ]

  test.each(failures)('keeps the last keys and is reported once: it %s', async (_, reason, fail) => {
    const keys = open({ timeoutMs: 1_000 })
    await countFor(keys, 'first')
    answer = (__, response) => fail(response)
    for (let attempt = 0; attempt < 2; attempt += 1) {
      clock.advance(jwksCooldownMs)
      await expect(countFor(keys, 'second')).rejects.toBeInstanceOf(KeysUnavailableError)
    }
    expect(requests).toBe(3)
    expect(await countFor(keys, 'first')).toBe(1)
    expect(onProblem).toHaveBeenCalledExactlyOnceWith(expect.stringContaining(reason))
    expect(onProblem.mock.lastCall?.[0]).toContain('stay in use')

    serve(second)
    // On a starved machine a fetch may take longer than its timeout.
    await vi.waitFor(
      async () => {
        clock.advance(jwksCooldownMs)
        expect(await countFor(keys, 'second')).toBe(1)
      },
      { timeout: 20_000 },
    )
  })

  test('is not blamed when it was not asked because other fetches took too long', async () => {
    const slots = new FetchSlots(1)
    let end = (): void => {}
    const busy = slots.run(
      new AbortController().signal,
      () => new Promise<void>((resolve) => (end = resolve)),
    )
    await expect(countFor(open({ timeoutMs: 50, slots }))).rejects.toBeInstanceOf(KeysUnavailableError)
    expect(onProblem).toHaveBeenCalledExactlyOnceWith(expect.stringContaining('it was not asked'))
    expect(requests).toBe(0)
    end()
    await busy
  })

  test('from the start makes the keys unavailable, and is asked again after 5 s', async () => {
    answer = (_, response) => response.writeHead(500).end()
    const keys = open()
    await expect(countFor(keys)).rejects.toBeInstanceOf(KeysUnavailableError)
    await expect(countFor(keys)).rejects.toBeInstanceOf(KeysUnavailableError)
    expect(requests).toBe(1)
    serve(first)
    clock.advance(5_000)
    expect(await countFor(keys)).toBe(1)
  })

  test('is reported again after a successful fetch', async () => {
    const keys = open()
    const fail = () => {
      answer = (_, response) => response.writeHead(500).end()
    }
    for (const change of [fail, () => serve(first), fail]) {
      change()
      clock.advance(jwksCooldownMs)
      await countFor(keys, 'second').catch(() => 0)
    }
    expect(onProblem).toHaveBeenCalledTimes(2)
  })

  test('cannot hang a fetch by switching protocols', async () => {
    const rogue = createTcpServer((socket) =>
      socket.on('data', () =>
        socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n'),
      ),
    )
    await new Promise<void>((listening) => rogue.listen(0, '127.0.0.1', listening))
    const keys = open({ uri: `http://127.0.0.1:${(rogue.address() as AddressInfo).port}/` })
    await expect(countFor(keys)).rejects.toBeInstanceOf(KeysUnavailableError)
    rogue.close()
  })
})

describe('accepts()', () => {
  test('is true for any key of the issuer until the first set is fetched, then for its keys', async () => {
    const keys = open()
    expect(keys.accepts('idp/anything')).toBe(true)
    expect(keys.accepts('other/anything')).toBe(false)
    await vi.waitFor(() => expect(onKeysChanged).toHaveBeenCalledOnce())
    expect(keys.accepts('idp/anything')).toBe(false)
    expect(keys.accepts(await idFor(keys, 'first'))).toBe(true)
  })

  test('notices that a key was withdrawn', async () => {
    const keys = open()
    const id = await idFor(keys, 'first')
    serve(second)
    clock.advance(jwksAgeMaxMs + 1)
    expect(keys.accepts(id)).toBe(true)
    await vi.waitFor(() => expect(onKeysChanged).toHaveBeenCalledTimes(2))
    expect(keys.accepts(id)).toBe(false)
  })

  test('does not call onKeysChanged when the same keys are fetched again', async () => {
    const keys = open()
    await countFor(keys, 'first')
    clock.advance(jwksCooldownMs)
    await expect(countFor(keys, 'second')).rejects.toBeInstanceOf(KeysUnavailableError)
    expect(requests).toBe(2)
    expect(onKeysChanged).toHaveBeenCalledOnce()
  })
})

describe('private addresses', () => {
  const port = () => new URL(uri).port

  test.each([
    ['an IPv4 literal', () => `https://127.0.0.1:${port()}/`, 'not public'],
    ['a short IPv4 literal', () => `https://127.1:${port()}/`, 'not public'],
    ['a number', () => `https://2130706433:${port()}/`, 'not public'],
    ['an IPv6 literal', () => `https://[::1]:${port()}/`, 'not public'],
    ['a mapped literal', () => `https://[::ffff:127.0.0.1]:${port()}/`, 'not public'],
    ['the metadata service', () => 'https://169.254.169.254/latest/meta-data', 'not public'],
    ['a name', () => `https://localhost:${port()}/`, 'not public'],
    ['plain http', () => uri, 'must begin with https://'],
    ['a file', () => 'file:///etc/passwd', 'must begin with https://'],
    ['no URL', () => 'jwks.json', 'must begin with https://'],
    ['a password', () => 'https://user:pass@example.org/', 'must not hold a user or password'],
  ])('are not reached through %s', async (_, makeUri, reason) => {
    await expect(countFor(open({ uri: makeUri(), allowPrivate: false }))).rejects.toBeInstanceOf(
      KeysUnavailableError,
    )
    expect(onProblem).toHaveBeenCalledExactlyOnceWith(expect.stringContaining(reason))
    expect(requests).toBe(0)
  })
})
