// The gateway that a file of bad input tests. After all tests of the file, the gateway must still work.
import { afterAll, beforeAll, expect, vi } from 'vitest'
import { WebSocket } from 'ws'
import type { TenantPolicy } from '../../src/tenant/policy.js'
import { bugsOf, startGateway, type TestGateway } from './gateway.js'
import { tenantPolicy } from './policies.js'
import { RawClient, type HttpAnswer, type Json } from './raw-client.js'
import { centrifugePath, chatPath, upgradeRequest, type UpgradeRequest } from './raw-http.js'

export class Target {
  readonly #policies: readonly TenantPolicy[]
  readonly #options: Parameters<typeof startGateway>
  readonly #clients: RawClient[] = []
  #running: TestGateway | undefined
  /** The number of bugs that tests caused on purpose. */
  expectedBugs = 0

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

  /** The gateway's self-signed certificate, when it speaks TLS. */
  get #ca(): string | undefined {
    return this.#options[2]?.certificate?.cert
  }

  /** Opens a connection, with TLS when the gateway speaks it. It is closed after the tests of the file. */
  async connect(options?: { localAddress?: string }): Promise<RawClient> {
    const { port } = this.running
    const client = await (this.#ca === undefined
      ? RawClient.connect(port, options)
      : RawClient.connectTls(port, { ca: this.#ca }))
    this.#clients.push(client)
    return client
  }

  /** Sends a request in one packet and reads the response. */
  async request(request: UpgradeRequest | string): Promise<HttpAnswer> {
    const client = await this.connect()
    client.write(typeof request === 'string' ? request : upgradeRequest(request))
    const answer = await client.answer()
    client.destroy()
    return answer
  }

  /** Opens a WebSocket by a raw request. */
  async upgrade(request: UpgradeRequest): Promise<RawClient> {
    const client = await this.connect()
    client.write(upgradeRequest(request))
    const answer = await client.answer()
    expect(answer).toMatchObject({ status: 101 })
    return client
  }

  /** Connects to the chat endpoint and reads the welcome. */
  async chat(user: string, tenant = 'demo/acme'): Promise<RawClient> {
    const token = await this.running.token(user, { tenant })
    const client = await this.upgrade({ target: `/${tenant}/ws?token=${token}` })
    expect(await client.json()).toMatchObject({ event: 'welcome', user_id: user })
    return client
  }

  /** Connects to the Centrifuge endpoint. */
  async centrifuge(user: string, tenant = 'demo/acme'): Promise<RawClient> {
    const client = await this.upgrade({ target: `/${tenant}/connection/websocket` })
    client.send({ id: 1, connect: { token: await this.running.token(user, { tenant }) } })
    expect(await client.json()).toMatchObject({ id: 1, connect: {} })
    return client
  }

  /**
   * Asserts that other clients can still chat at both endpoints, that no unexpected bug was counted, and that
   * no session is left.
   */
  async expectHealthy(): Promise<void> {
    await this.#chatAtBothEndpoints()
    for (const client of this.#clients) client.destroy()
    const { gateway } = this.running
    await vi.waitFor(() => expect(gateway.context.sessions.size).toBe(0), { timeout: 10_000 })
    for (const tenant of gateway.tenants)
      expect([tenant.quota.connections, tenant.quota.counters.subscriptionsTotal]).toEqual([0, 0])
    expect(await bugsOf(this.running)).toBe(this.expectedBugs)
  }

  async stop(): Promise<void> {
    for (const client of this.#clients) client.destroy()
    await this.#running?.stop()
  }

  async #chatAtBothEndpoints(): Promise<void> {
    const { token, ws } = this.running
    const bearer = await token('healthy')
    const chat = new WebSocket(`${ws}${chatPath}?token=${bearer}`, { ca: this.#ca })
    const centrifuge = new WebSocket(`${ws}${centrifugePath}`, { ca: this.#ca })
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

function until(socket: WebSocket, matches: (message: Json) => boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    const timeout = setTimeout(() => reject(new Error('a healthy client received no message')), 10_000)
    socket.on('error', reject)
    socket.on('message', (data: Buffer) => {
      if (
        !data
          .toString()
          .split('\n')
          .some((line) => matches(JSON.parse(line) as Json))
      )
        return
      clearTimeout(timeout)
      resolve()
    })
  })
}

/**
 * Starts a gateway before the first test of the file, and checks its health after the last one. vitest itself
 * fails the run on an unhandled rejection.
 */
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

/** Asserts that a refusal has its status, its code and a message, and nothing else. */
export function expectRefusal(answer: HttpAnswer, expected: { status: number; code: string }): void {
  expect(answer).toMatchObject({ status: expected.status, body: { code: expected.code } })
  expectSentence(answer.body?.message)
  expect(Object.keys(answer.body ?? {})).toEqual(['code', 'message'])
}

/** Asserts that a message is readable, without control characters, stacks or file paths. */
export function expectSentence(message: string | undefined): void {
  expect(message).toMatch(/^\P{Cc}{10,600}$/u)
  expect(message).not.toMatch(/node:|node_modules|\.[jt]s:\d|undefined|\[object|eyJ/)
}
