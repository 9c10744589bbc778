import { expect, test } from 'vitest'
import type { ChannelRef } from '../broker/broker.js'
import { Demultiplexer } from './demultiplexer.js'
import { commandsChannel } from './fleet/command-follower.js'
import { controlTenantId } from './fleet/control.js'

const publication = { data: Buffer.from('1'), epoch: 'e', offset: 1, timeMs: 1 }
const top = { epoch: 'e', offset: 9 }
const general: ChannelRef = { tenantId: 't1', channel: 'general' }
const surveys: ChannelRef = { tenantId: controlTenantId, channel: 'surveys' }
const commands: ChannelRef = { tenantId: 't1', channel: commandsChannel }

/** A demultiplexer, and the calls that each of its three listeners received. */
function recording() {
  const calls = { hub: [] as string[], control: [] as string[], commands: [] as string[] }
  const demultiplexer = new Demultiplexer({
    hub: {
      onPublication: (ref) => void calls.hub.push(`publication ${ref.channel}`),
      onAnnouncement: (ref) => void calls.hub.push(`announcement ${ref.channel}`),
      onContinuityLost: (ref, position) => void calls.hub.push(`lost ${ref.channel} ${position.offset}`),
    },
    control: {
      onPublication: (ref) => void calls.control.push(`publication ${ref.channel}`),
    },
    commands: {
      onPublication: (ref) => void calls.commands.push(`publication ${ref.tenantId}`),
      onContinuityLost: (ref, position) =>
        void calls.commands.push(`lost ${ref.tenantId} ${position.offset}`),
    },
  })
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
    commands: [],
  })
})

test('routes what arrives on the gateways’ own channels to the control channel', () => {
  const { calls, demultiplexer } = recording()
  demultiplexer.onPublication(surveys, publication)
  demultiplexer.onPublication({ ...surveys, channel: 'answers:g1' }, publication)
  demultiplexer.onContinuityLost(surveys, top)
  expect(calls).toEqual({
    hub: [],
    control: ['publication surveys', 'publication answers:g1'],
    commands: [],
  })
})

test('routes what arrives on the control channel of a tenant to the follower of commands', () => {
  const { calls, demultiplexer } = recording()
  demultiplexer.onPublication(commands, publication)
  demultiplexer.onContinuityLost(commands, top)
  expect(calls).toEqual({ hub: [], control: [], commands: ['publication t1', 'lost t1 9'] })
})
