// The protobuf schema of Centrifuge's protocol v2: the numbers of all fields that Parley sends or reads. The
// names are those of the JSON protocol, so that one model serves both. Fields of map and shared-poll
// subscriptions are left out; as unknown fields they are skipped.
import { mapOf, MessageType } from './protobuf-message.js'
import { filterDepthMax } from '../tags-filter.js'

const Empty = new MessageType({})
const ClientInfo = new MessageType({
  user: [1, 'string'],
  client: [2, 'string'],
  conn_info: [3, 'bytes'],
  chan_info: [4, 'bytes'],
})
const Publication = new MessageType({
  data: [4, 'bytes'],
  info: [5, ClientInfo],
  offset: [6, 'uint64'],
  tags: [7, mapOf('string')],
  delta: [8, 'bool'],
  time: [9, 'int64'],
})
const ChannelRequest = new MessageType({ channel: [1, 'string'] })
const Presence = new MessageType({ info: [1, ClientInfo] })
const Expiry = { expires: [1, 'bool'], ttl: [2, 'uint32'] } as const
/**
 * Nested nodes, down to the depth that a filter may have. Deeper nodes are read as empty messages, which the
 * filter's parser refuses.
 */
const FilterNode = Array.from({ length: filterDepthMax }).reduce<MessageType>(
  (inner) =>
    new MessageType({
      op: [1, 'string'],
      key: [2, 'string'],
      cmp: [3, 'string'],
      val: [4, 'string'],
      vals: [5, { repeated: 'string' }],
      nodes: [6, { repeated: inner }],
    }),
  Empty,
)
const SubscribeRequest = new MessageType({
  channel: [1, 'string'],
  token: [2, 'string'],
  recover: [3, 'bool'],
  epoch: [6, 'string'],
  offset: [7, 'uint64'],
  positioned: [9, 'bool'],
  recoverable: [10, 'bool'],
  join_leave: [11, 'bool'],
  delta: [12, 'string'],
  tf: [13, FilterNode],
  flag: [14, 'int64'],
  type: [15, 'int32'],
})
const SubscribeResult = new MessageType({
  ...Expiry,
  recoverable: [3, 'bool'],
  epoch: [6, 'string'],
  publications: [7, { repeated: Publication }],
  recovered: [8, 'bool'],
  offset: [9, 'uint64'],
  positioned: [10, 'bool'],
  was_recovering: [12, 'bool'],
  delta: [13, 'bool'],
})

export const WireCommand = new MessageType({
  id: [1, 'uint32'],
  connect: [4, new MessageType({ token: [1, 'string'], subs: [3, mapOf(SubscribeRequest)] })],
  subscribe: [5, SubscribeRequest],
  unsubscribe: [6, ChannelRequest],
  publish: [7, new MessageType({ channel: [1, 'string'], data: [2, 'bytes'], type: [3, 'int32'] })],
  presence: [8, ChannelRequest],
  presence_stats: [9, ChannelRequest],
  history: [
    10,
    new MessageType({
      channel: [1, 'string'],
      limit: [7, 'int32'],
      since: [8, new MessageType({ offset: [1, 'uint64'], epoch: [2, 'string'] })],
      reverse: [9, 'bool'],
    }),
  ],
  ping: [11, Empty],
  send: [12, Empty],
  rpc: [13, new MessageType({ method: [2, 'string'] })],
  refresh: [14, new MessageType({ token: [1, 'string'] })],
  sub_refresh: [15, new MessageType({ channel: [1, 'string'], token: [2, 'string'] })],
})

export const WireReply = new MessageType({
  id: [1, 'uint32'],
  error: [2, new MessageType({ code: [1, 'uint32'], message: [2, 'string'], temporary: [3, 'bool'] })],
  push: [
    4,
    new MessageType({
      channel: [2, 'string'],
      pub: [4, Publication],
      join: [5, Presence],
      leave: [6, Presence],
      subscribe: [
        9,
        new MessageType({
          recoverable: [1, 'bool'],
          epoch: [4, 'string'],
          offset: [5, 'uint64'],
          positioned: [6, 'bool'],
          data: [7, 'bytes'],
        }),
      ],
      unsubscribe: [7, new MessageType({ code: [2, 'uint32'], reason: [3, 'string'] })],
      refresh: [12, new MessageType(Expiry)],
    }),
  ],
  connect: [
    5,
    new MessageType({
      client: [1, 'string'],
      version: [2, 'string'],
      expires: [3, 'bool'],
      ttl: [4, 'uint32'],
      data: [5, 'bytes'],
      subs: [6, mapOf(SubscribeResult)],
      ping: [7, 'uint32'],
      pong: [8, 'bool'],
    }),
  ],
  subscribe: [6, SubscribeResult],
  unsubscribe: [7, Empty],
  publish: [8, Empty],
  presence: [9, new MessageType({ presence: [1, mapOf(ClientInfo)] })],
  presence_stats: [10, new MessageType({ num_clients: [1, 'uint32'], num_users: [2, 'uint32'] })],
  history: [
    11,
    new MessageType({
      publications: [1, { repeated: Publication }],
      epoch: [2, 'string'],
      offset: [3, 'uint64'],
    }),
  ],
  refresh: [
    14,
    new MessageType({
      client: [1, 'string'],
      version: [2, 'string'],
      expires: [3, 'bool'],
      ttl: [4, 'uint32'],
    }),
  ],
  sub_refresh: [15, new MessageType(Expiry)],
})
