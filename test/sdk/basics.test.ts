// What every official client does, whatever its language, against our door.
import { describe, expect, test } from 'vitest'
import { door, gatewayFor } from '../support/centrifuge-sdk.js'
import { clients } from './clients.js'
import { Driver } from './driver.js'

describe.each(clients)('$name', (client) => {
  test('connects by token', async () => {
    const gateway = await gatewayFor()
    const ann = Driver.start(client)
    await ann.connect(door(gateway), { token: await gateway.token('ann') })
    expect((await ann.next('connected')).client).toMatch(/^[\w-]{36}$/)
  })
})
