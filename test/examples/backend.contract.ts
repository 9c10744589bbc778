// The contract of every backend in examples/, whatever its language. Each is started as its users start it,
// with the gateway that `npm start` starts.
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { DevProcess } from '../support/dev-process.js'
import { collect, connected, next, sdkAt, subscribed } from '../support/centrifuge-sdk.js'
import { Program } from '../support/child-process.js'

const examples = fileURLToPath(new URL('../../examples/', import.meta.url))

/** A running example backend, with a gateway of its own. */
export class RunningBackend {
  readonly url: string
  /** The folder of the bindings that the backend reads. */
  readonly bindings: string
  readonly #gateway: DevProcess
  readonly #program: Program

  private constructor(parts: { url: string; bindings: string; gateway: DevProcess; program: Program }) {
    this.url = parts.url
    this.bindings = parts.bindings
    this.#gateway = parts.gateway
    this.#program = parts.program
  }

  static async start(command: readonly string[]): Promise<RunningBackend> {
    const gateway = await DevProcess.start()
    const bindings = await mkdtemp(join(tmpdir(), 'parley-bindings-'))
    await cp(join(examples, 'bindings'), bindings, { recursive: true })
    // The port of the gateway differs in each run.
    await writeFile(join(bindings, 'chat/uri'), `ws://localhost:${gateway.port}/demo/acme`)
    const program = new Program('the backend', command, {
      cwd: examples,
      env: { ...process.env, PORT: '0', SERVICE_BINDING_ROOT: bindings },
    })
    const url = await program.waitForOutput(
      'its address',
      (output) => /http:\/\/localhost:\d+\//.exec(output)?.[0],
    )
    return new RunningBackend({ url, bindings, gateway, program })
  }

  post(path: string, { body = '{}', cookie = '' } = {}): Promise<Response> {
    return fetch(this.url + path, {
      method: 'POST',
      headers: { 'content-type': 'application/json', cookie },
      body,
    })
  }

  /** Logs in and returns the cookie of the session. */
  async login(user: string): Promise<string> {
    const response = await this.post('login', { body: JSON.stringify({ user }) })
    expect(response.status).toBe(200)
    return response.headers.getSetCookie()[0]?.split(';')[0] ?? ''
  }

  async token(cookie: string): Promise<{ token: string; url: string }> {
    return (await (await this.post('token', { cookie })).json()) as { token: string; url: string }
  }

  /** Ends the backend as Kubernetes does. Resolves with its exit code. */
  async end(): Promise<number | null> {
    this.#program.signal('SIGTERM')
    return (await this.#program.ended).code
  }

  async stop(): Promise<void> {
    await this.#program.kill()
    await this.#gateway.stop()
    await rm(this.bindings, { recursive: true, force: true })
  }
}

export function backendContract(name: string, command: readonly string[]): void {
  describe(`a backend: ${name}`, () => {
    let backend: RunningBackend
    beforeAll(async () => {
      backend = await RunningBackend.start(command)
    })
    afterAll(() => backend?.stop())

    test('issues tokens for its users, and returns the address to connect to', async () => {
      const { token, url } = await backend.token(await backend.login('ann'))
      const room = await subscribed(await connected(sdkAt(url, { token })), 'general')
      const { clients } = await room.presence()
      expect(Object.values(clients).map(({ user }) => user)).toEqual(['ann'])
    })

    test('refuses requests without a session', async () => {
      for (const path of ['token', 'ring'])
        for (const cookie of ['', 'session=guessed']) {
          const { status } = await backend.post(path, { cookie })
          expect(status).toBe(401)
        }
    })

    test('publishes events to a channel', async () => {
      const cookie = await backend.login('ann')
      const { token, url } = await backend.token(cookie)
      const room = await subscribed(await connected(sdkAt(url, { token })), 'general')
      const publications = collect(room, 'publication')
      expect((await backend.post('ring', { cookie })).status).toBe(200)
      const { data, info } = await publications.next()
      expect(data).toEqual({ text: 'ann rings the bell' })
      expect(info).toBeUndefined()
    })

    test('serves the page', async () => {
      const files = {
        '': 'browser/index.html',
        'chat.js': 'browser/chat.js',
        'centrifuge.js': '../node_modules/centrifuge/dist/centrifuge.js',
      }
      for (const [path, file] of Object.entries(files)) {
        const response = await fetch(backend.url + path)
        expect(await response.text()).toBe(await readFile(join(examples, file), 'utf8'))
        expect(response.headers.get('content-type')).toMatch(
          path === '' ? /^text\/html/ : /^text\/javascript/,
        )
      }
    })

    test.each([
      ['login', 'no JSON', 400],
      ['login', '{"user":7}', 400],
      ['login', 'null', 400],
      ['login', `{"user":"${'a'.repeat(20_000)}"}`, 413],
      ['unknown', '{}', 404],
    ])('refuses a POST of %s with %.20s', async (path, body, status) => {
      expect((await backend.post(path, { body })).status).toBe(status)
    })

    test('reads changed keys from their files', async () => {
      const cookie = await backend.login('ann')
      await writeFile(join(backend.bindings, 'chat/backend'), 'another key, which the gateway does not know')
      const { token, url } = await backend.token(cookie)
      const client = sdkAt(url, { token })
      const ended = next(client, 'disconnected')
      client.connect()
      expect((await ended).code).toBe(3500)
      await writeFile(join(backend.bindings, 'chat-api/api-key'), 'another')
      expect((await backend.post('ring', { cookie })).status).toBe(500)
    })

    test('ends with code 0 after SIGTERM', async () => {
      expect(await backend.end()).toBe(0)
    })
  })
}
