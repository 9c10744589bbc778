// The unmodified centrifuge npm client in its protobuf build, where data is bytes. Its public methods are
// wrapped to convert from and to JSON.
import type { Centrifuge, ClientEvents } from 'centrifuge'
import { Centrifuge as ProtobufCentrifuge } from 'centrifuge/build/protobuf'

type Client = InstanceType<typeof ProtobufCentrifuge>

class JsonOverProtobuf extends ProtobufCentrifuge {
  override publish(channel: string, data: unknown) {
    return super.publish(channel, encoded(data))
  }

  override rpc(method: string, data: unknown) {
    return super.rpc(method, encoded(data))
  }

  override async history(...args: Parameters<Client['history']>) {
    return decoded(await super.history(...args))
  }

  override async presence(channel: string) {
    return decoded(await super.presence(channel))
  }

  override emit<Name extends keyof ClientEvents>(name: Name, ...args: Parameters<ClientEvents[Name]>) {
    return super.emit(name, ...decoded(args))
  }

  override newSubscription(...args: Parameters<Client['newSubscription']>) {
    const subscription = super.newSubscription(...args)
    const emit = subscription.emit.bind(subscription)
    subscription.emit = ((name: 'publication', context: never) => emit(name, decoded(context))) as typeof emit
    return subscription
  }
}

/** Typed like the JSON client: only the types of the two builds differ. */
export const ProtobufSdk = JsonOverProtobuf as unknown as typeof Centrifuge

function encoded(data: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(data))
}

/** Replaces bytes by their JSON values; empty bytes become undefined. */
function decoded<Value>(value: Value): Value {
  if (value instanceof Uint8Array)
    return (value.byteLength === 0 ? undefined : JSON.parse(Buffer.from(value).toString())) as Value
  if (Array.isArray(value)) return value.map(decoded) as Value
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, decoded(member)])) as Value
}
