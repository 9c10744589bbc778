// Shared fixture for the tests of the operators' port.
import { expect, onTestFinished, vi } from 'vitest'
import { systemClock } from '../../time.js'
import { MemoryBroker, MemoryBrokerData } from '../../broker/memory.js'
import { MemoryPresence } from '../../presence/memory.js'
import { chatCodec } from '../../protocol/chat/codec.js'
import { connectAuthenticated } from '../../session/commands/connect.js'
import { dispatch } from '../../session/dispatch.js'
import { authenticate } from '../../session/identity.js'
import { Session } from '../../session/session.js'
import type { CatalogListener } from '../../catalog/catalog.js'
import type { TenantPolicy } from '../../tenant/policy.js'
import { Gateway } from '../gateway.js'
import type { OpsOptions } from './ops.js'
import { OpsServer } from './ops-server.js'
import { FakeTransport, policyOf, silentLog } from '../../session/session.testing.js'

/**
 * A gateway with its operators' port. Its sessions use fake transports instead of sockets. Ends with its
 * test.
 */
export class OpsFixture {
  readonly gateway: Gateway
  listener: CatalogListener | undefined
  url = ''

  constructor(policies: readonly TenantPolicy[]) {
    this.gateway = new Gateway({
      broker: new MemoryBroker(new MemoryBrokerData({ clock: systemClock })),
      presence: new MemoryPresence({ clock: systemClock }),
      catalog: {
        get: () => undefined,
        all: () => policies,
        listen: (listener) => void (this.listener = listener),
      },
      clock: systemClock,
      log: silentLog,
      processMetrics: false,
    })
  }

  async start(options: OpsOptions = {}): Promise<this> {
    const server = new OpsServer(this.gateway, options)
    const { port } = await server.listen(0, '127.0.0.1')
    onTestFinished(() => server.close())
    this.url = `http://127.0.0.1:${port}`
    return this
  }

  /** Connects a guest that joins the room `general`. */
  async enter(client: string, tenantKey = 'demo/acme'): Promise<Session> {
    const tenant = this.gateway.tenant(tenantKey)
    if (!tenant) throw new Error('no tenant')
    const session = new Session(this.gateway.context, {
      tenant,
      codec: chatCodec,
      transport: new FakeTransport(),
      dispatch,
    })
    const identity = await authenticate(tenant, { token: '', client })
    await connectAuthenticated(tenant, identity, { startedMs: 0, session: () => session })
    session.onMessage(Buffer.from('{"type":"join_room","room":"general"}'), false)
    await vi.waitFor(() => expect(session.subscriptions.get('general')?.live).toBe(true), { interval: 1 })
    return session
  }

  get(path: string, init: RequestInit = {}): Promise<Response> {
    return fetch(this.url + path, init)
  }

  async text(path: string): Promise<string> {
    return (await this.get(path)).text()
  }

  async json(path: string): Promise<unknown> {
    return (await this.get(path)).json()
  }
}

export const startOps = (
  policies: readonly TenantPolicy[] = [policyOf()],
  options: OpsOptions = {},
): Promise<OpsFixture> => new OpsFixture(policies).start(options)
