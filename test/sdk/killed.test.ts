// A gateway is killed while its clients are active: they continue at another one and miss nothing.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { endPrograms } from '../support/child-process.js'
import { connectedAs, centrifugeUrl } from '../support/centrifuge-sdk.js'
import { GatewayProcess, ManifestFolder } from '../support/gateway-process.js'
import { TestProxy } from '../support/proxy.js'
import { endRedisProcesses, startRedis } from '../support/redis-processes.js'
import { clients } from './clients.js'
import { Driver } from './driver.js'

let manifests: ManifestFolder
let redisUrl: string
let remaining: GatewayProcess
/** Clients connect here. It leads to a gateway that is alive. */
let balancer: TestProxy

const options = () => ({ redis: redisUrl, args: ['--tenants', manifests.path] })

beforeAll(async () => {
  manifests = await ManifestFolder.make()
  redisUrl = `redis://127.0.0.1:${(await startRedis()).port}`
  remaining = await GatewayProcess.start(options())
  balancer = await new TestProxy(remaining.port).start()
})
afterAll(async () => {
  await balancer.stop()
  await endPrograms()
  await endRedisProcesses()
  await manifests.remove()
})

describe.each(clients)('$name', (client) => {
  test('recovers what was published while it was disconnected, once and completely', async () => {
    const killed = await GatewayProcess.start(options())
    balancer.retarget(killed.port)
    const ann = Driver.start(client)
    await ann.connected(centrifugeUrl(balancer), { getToken: () => killed.token('ann') })
    await ann.subscribed('general', { recoverable: true })
    const bob = await connectedAs(remaining, 'bob')

    const numbers = Array.from({ length: 200 }, (_, index) => index + 1)
    for (const n of numbers) {
      // Publishing continues without waiting for the end of the gateway.
      if (n === 100) balancer.retarget(remaining.port)
      if (n === 100) killed.program.signal('SIGKILL')
      await bob.publish('general', n)
    }
    expect(await ann.next('subscribed')).toMatchObject({ wasRecovering: true, recovered: true })
    expect(await ann.data(numbers.length)).toEqual(numbers)
    await bob.publish('general', 'the last')
    expect(await ann.data(1)).toEqual(['the last'])
    expect(ann.waiting('publication')).toEqual([])
  })

  test('reads the complete history at the other gateway', async () => {
    const killed = await GatewayProcess.start(options())
    balancer.retarget(killed.port)
    const ann = Driver.start(client)
    await ann.connected(centrifugeUrl(balancer), { getToken: () => killed.token('ann') })
    await ann.publish('lobby', 'before')
    const { epoch, offset } = await ann.history('lobby')
    balancer.retarget(remaining.port)
    await killed.kill()
    await ann.next('connected')
    await ann.publish('lobby', 'after')
    const { publications } = await ann.history('lobby', { limit: 10, since: { epoch, offset: offset - 1 } })
    expect(publications.map(({ data }) => data)).toEqual(['before', 'after'])
  })
})
