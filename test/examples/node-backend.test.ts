import { backendContract } from './backend.contract.js'

backendContract('examples/node-backend', [process.execPath, 'node-backend/server.js'])
