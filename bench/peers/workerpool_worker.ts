import { worker } from "workerpool";
import { double, noop } from "./tasks.ts";

worker({ noop, double });
