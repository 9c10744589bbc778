// A gateway for one file of bad input. When all of it is over, the gateway must be as well as before.
import { afterAll, beforeAll, expect, vi } from 'vitest'
import { WebSocket } from 'ws'
import type { TenantPolicy } from '../../src/tenant/policy.js'
import { bugsOf, startGateway, type TestGateway } from './gateway.js'
import { tenantPolicy } from './policies.js'
import { RawClient, type HttpAnswer, type Json } from './raw-client.js'
import { centrifugeDoor, chatDoor, upgradeRequest, type UpgradeRequest } from './raw-http.js'

export class Target {
  readonly #policies: readonly TenantPolicy[]
  readonly #options: Parameters<typeof startGateway>
  readonly #clients: RawClient[] = []
  #running: TestGateway | undefined
  /** Faults that a test made itself. */
  bugsMade = 0

  constructor(policies: readonly TenantPolicy[], options: Parameters<typeof startGateway>) {
    this.#policies = policies
    this.#options = options
  }

  get running(): TestGateway {
    if (!this.#running) throw new Error('the gateway is not started yet')
    return this.#running
  }

  async start(): Promise<void> {
    const [, gatewayOptions, serverOptions] = this.#options
    this.#running = await startGateway(this.#policies, gatewayOptions, serverOptions)
  }

  /** Where the gateway speaks TLS: its certificate, which signed itself. */
  get #ca(): string | undefined {
    return this.#options[2]?.certificate?.cert
  }

  /** A connection, through TLS where the gateway speaks it; it is cut when the file is over. */
  async connect(): Promise<RawClient> {
    const { port } = this.running
    const client = await (this.#ca === undefined
      ? RawClient.connect(port)
      : RawClient.connectTls(port, { ca: this.#ca }))
    this.#clients.push(client)
    return client
  }

  /** Sends a request in one packet and reads the answer. */
  async ask(request: UpgradeRequest | string): Promise<HttpAnswer> {
    const client = await this.connect()
    client.write(typeof request === 'string' ? request : upgradeRequest(request))
    const answer = await client.answer()
    client.destroy()
    return answer
  }

  async upgraded(request: UpgradeRequest): Promise<RawClient> {
    const client = await this.connect()
    client.write(upgradeRequest(request))
    const answer = await client.answer()
    expect(answer).toMatchObject({ status: 101 })
    return client
  }

  /** At the chat door, with the welcome read. */
  async chat(user: string, tenant = 'demo/acme'): Promise<RawClient> {
    const token = await this.running.token(user, { tenant })
    const client = await this.upgraded({ target: `/${tenant}/ws?token=${token}` })
    expect(await client.json()).toMatchObject({ event: 'welcome', user_id: user })
    return client
  }

  /** At the Centrifuge door, connected. */
  async centrifuge(user: string, tenant = 'demo/acme'): Promise<RawClient> {
    const client = await this.upgraded({ target: `/${tenant}/connection/websocket` })
    client.send({ id: 1, connect: { token: await this.running.token(user, { tenant }) } })
    expect(await client.json()).toMatchObject({ id: 1, connect: {} })
    return client
  }

  /** Somebody else, by a WebSocket library, says hello to himself through both doors; and nobody counted a bug or left anything behind. */
  async expectHealthy(): Promise<void> {
    await this.#chatsAtBothDoors()
    for (const client of this.#clients) client.destroy()
    const { gateway } = this.running
    await vi.waitFor(() => expect(gateway.context.sessions.size).toBe(0), { timeout: 10_000 })
    for (const tenant of gateway.tenants)
      expect(tenant).toMatchObject({ connections: 0, subscriptionsTotal: 0 })
    expect(await bugsOf(this.running)).toBe(this.bugsMade)
  }

  async stop(): Promise<void> {
    for (const client of this.#clients) client.destroy()
    await this.#running?.stop()
  }

  async #chatsAtBothDoors(): Promise<void> {
    const { token, ws } = this.running
    const bearer = await token('healthy')
    const chat = new WebSocket(`${ws}${chatDoor}?token=${bearer}`, { ca: this.#ca })
    const centrifuge = new WebSocket(`${ws}${centrifugeDoor}`, { ca: this.#ca })
    const heard = Promise.all([
      until(chat, (message) => message['event'] === 'chat' && message['content'] === 'still here'),
      until(centrifuge, (message) => message['push']?.pub?.data === 'still here'),
    ])
    centrifuge.on('open', () => {
      centrifuge.send(`{"id":1,"connect":{"token":"${bearer}"}}\n{"id":2,"subscribe":{"channel":"lobby"}}`)
    })
    await until(centrifuge, (message) => message['id'] === 2)
    chat.send(JSON.stringify({ type: 'chat', content: 'still here', echo: true }))
    await heard
    chat.terminate()
    centrifuge.terminate()
  }
}

function until(socket: WebSocket, wanted: (message: Json) => boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error('a healthy client waits in vain')), 10_000)
    socket.on('error', reject)
    socket.on('message', (data: Buffer) => {
      if (
        !data
          .toString()
          .split('\n')
          .some((line) => wanted(JSON.parse(line) as Json))
      )
        return
      clearTimeout(late)
      resolve()
    })
  })
}

/** Starts before the file's first test, and after the last one asks how the gateway is. A rejection nobody handled fails the run by itself (vitest). */
export function targetGateway(
  policies: readonly TenantPolicy[] = [tenantPolicy()],
  ...options: Parameters<typeof startGateway> extends [unknown, ...infer Rest] ? Rest : never
): Target {
  const target = new Target(policies, [policies, ...options])
  beforeAll(() => target.start())
  afterAll(async () => {
    try {
      await target.expectHealthy()
    } finally {
      await target.stop()
    }
  })
  return target
}

/** A refusal has its status, its code and a sentence, and nothing more. */
export function expectRefusal(answer: HttpAnswer, expected: { status: number; code: string }): void {
  expect(answer).toMatchObject({ status: expected.status, body: { code: expected.code } })
  expectSentence(answer.body?.message)
  expect(Object.keys(answer.body ?? {})).toEqual(['code', 'message'])
}

/** Words for people, without control characters, stacks or paths of ours. */
export function expectSentence(message: string | undefined): void {
  expect(message).toMatch(/^\P{Cc}{10,600}$/u)
  expect(message).not.toMatch(/node:|node_modules|\.[jt]s:\d|undefined|\[object|eyJ/)
}
