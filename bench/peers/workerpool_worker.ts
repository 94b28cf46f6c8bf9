import { worker } from "workerpool";
import { noop, TASKS } from "./tasks.ts";

worker({ noop, ...TASKS });
