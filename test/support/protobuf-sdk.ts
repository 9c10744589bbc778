// The unmodified centrifuge npm client in its protobuf build, where data is bytes: JSON is put in and taken out at its public methods.
import type { Centrifuge } from 'centrifuge'
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

  override emit(...[name, context]: Parameters<Client['emit']>) {
    return super.emit(name, decoded(context))
  }

  override newSubscription(...args: Parameters<Client['newSubscription']>) {
    const subscription = super.newSubscription(...args)
    const emit = subscription.emit.bind(subscription)
    subscription.emit = ((name: 'publication', context: never) => emit(name, decoded(context))) as typeof emit
    return subscription
  }
}

/** To tests a client as any other: only the types of the two builds differ. */
export const ProtobufSdk = JsonOverProtobuf as unknown as typeof Centrifuge

function encoded(data: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(data))
}

/** The same with JSON in place of bytes; no bytes are no value. */
function decoded<Value>(value: Value): Value {
  if (value instanceof Uint8Array)
    return (value.byteLength === 0 ? undefined : JSON.parse(Buffer.from(value).toString())) as Value
  if (Array.isArray(value)) return value.map(decoded) as Value
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, decoded(member)])) as Value
}
