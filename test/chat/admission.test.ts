// Events during an admission, while the ledger asks the other gateways: the reserved connection is always
// released.
import { expect, test, vi } from 'vitest'
import { gatewayFor } from '../support/centrifuge-sdk.js'
import { chatUrl, refusedUpgrade } from '../support/chat-client.js'
import type { TestGateway } from '../support/gateway.js'
import { HeldLedger } from '../support/held-ledger.js'
import { generousLimits, tenantPolicy } from '../support/policies.js'
import { RawClient } from '../support/raw-client.js'
import { centrifugePath, chatPath, upgradeRequest } from '../support/raw-http.js'
import { deadlineMs } from '../support/waiting.js'

async function held(): Promise<{ gateway: TestGateway; ledger: HeldLedger; url: string }> {
  const ledger = new HeldLedger()
  const gateway = await gatewayFor({}, { ledger })
  return { gateway, ledger, url: `${chatUrl(gateway)}?token=${await gateway.token('ann')}` }
}

const admissionWaits = (ledger: HeldLedger): Promise<void> =>
  vi.waitFor(() => expect(ledger.waiting).toBe(1), deadlineMs)

const connectionReleased = (ledger: HeldLedger): Promise<void> =>
  vi.waitFor(() => expect(ledger.leases.map(({ held: connections }) => connections)).toEqual([0]), deadlineMs)

test.each([
  ['the tenant is removed', 404, ({ catalog }: TestGateway) => catalog.remove('demo/acme')],
  ['the gateway begins to drain', 503, ({ gateway }: TestGateway) => gateway.startDraining()],
  [
    'the limit is lowered',
    429,
    ({ catalog }: TestGateway) =>
      catalog.put(
        tenantPolicy({
          limits: { ...generousLimits, connections: { ...generousLimits.connections, max: 0 } },
        }),
      ),
  ],
] as const)('chat endpoint: refused when %s during the admission: %i', async (_what, status, change) => {
  const { gateway, ledger, url } = await held()
  const refusal = refusedUpgrade(url)
  await admissionWaits(ledger)
  change(gateway)
  ledger.answer()
  // Under a lowered limit the admission is repeated.
  if (status === 429) {
    await admissionWaits(ledger)
    ledger.answer()
  }
  expect((await refusal).status).toBe(status)
  await connectionReleased(ledger)
})

test('chat endpoint: a client that leaves during the admission leaves no connection reserved', async () => {
  const { gateway, ledger } = await held()
  const client = await RawClient.connect(gateway.port)
  client.write(upgradeRequest({ target: `${chatPath}?token=${await gateway.token('ann')}` }))
  await admissionWaits(ledger)
  client.destroy()
  await new Promise((resolve) => {
    setTimeout(resolve, 50)
  })
  ledger.answer()
  await connectionReleased(ledger)
  expect(gateway.gateway.context.sessions.size).toBe(0)
})

test('Centrifuge endpoint: a client that leaves during the admission leaves no connection reserved', async () => {
  const { gateway, ledger } = await held()
  const client = await RawClient.connect(gateway.port)
  client.write(upgradeRequest({ target: centrifugePath }))
  await client.answer()
  client.send({ id: 1, connect: { token: await gateway.token('ann') } })
  await admissionWaits(ledger)
  client.destroy()
  await vi.waitFor(() => expect(gateway.gateway.context.sessions.size).toBe(0), deadlineMs)
  ledger.answer()
  await connectionReleased(ledger)
})

test('Centrifuge endpoint: a tenant that is removed during the admission leaves no connection reserved', async () => {
  const { gateway, ledger } = await held()
  const client = await RawClient.connect(gateway.port)
  client.write(upgradeRequest({ target: centrifugePath }))
  await client.answer()
  client.send({ id: 1, connect: { token: await gateway.token('ann') } })
  await admissionWaits(ledger)
  gateway.catalog.remove('demo/acme')
  ledger.answer()
  expect(await client.closed()).toMatchObject({ code: 3503 })
  await connectionReleased(ledger)
})
