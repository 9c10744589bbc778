import { expect, test } from 'vitest'
import type { ChannelRef } from '../broker/broker.js'
import { Demultiplexer } from './demultiplexer.js'
import { controlTenantId } from './fleet/control.js'

const publication = { data: Buffer.from('1'), epoch: 'e', offset: 1, timeMs: 1 }
const top = { epoch: 'e', offset: 9 }
const general: ChannelRef = { tenantId: 't1', channel: 'general' }
const control: ChannelRef = { tenantId: controlTenantId, channel: 'control' }

/** A demultiplexer, and the calls that each of its two listeners received. */
function recording() {
  const calls = { hub: [] as string[], control: [] as string[] }
  const demultiplexer = new Demultiplexer(
    {
      onPublication: (ref) => void calls.hub.push(`publication ${ref.channel}`),
      onAnnouncement: (ref) => void calls.hub.push(`announcement ${ref.channel}`),
      onContinuityLost: (ref, position) => void calls.hub.push(`lost ${ref.channel} ${position.offset}`),
    },
    {
      onPublication: (ref) => void calls.control.push(`publication ${ref.channel}`),
      onContinuityLost: () => void calls.control.push('lost'),
    },
  )
  return { calls, demultiplexer }
}

test('routes what arrives on a tenant’s channel to the hub', () => {
  const { calls, demultiplexer } = recording()
  demultiplexer.onPublication(general, publication)
  demultiplexer.onAnnouncement(general, {
    kind: 'join',
    info: { user: 'ann', client: 'c' },
    userEdge: true,
  })
  demultiplexer.onContinuityLost(general, top)
  expect(calls).toEqual({
    hub: ['publication general', 'announcement general', 'lost general 9'],
    control: [],
  })
})

test('routes what arrives on the gateways’ own channels to the control channel', () => {
  const { calls, demultiplexer } = recording()
  demultiplexer.onPublication(control, publication)
  demultiplexer.onPublication({ ...control, channel: 'answers:g1' }, publication)
  demultiplexer.onContinuityLost(control, top)
  expect(calls).toEqual({
    hub: [],
    control: ['publication control', 'publication answers:g1', 'lost'],
  })
})
