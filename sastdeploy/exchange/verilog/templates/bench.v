// Replays recordings.bin and writes results.txt: of every neuron at every step "layer neuron membrane spike", of every
// recording "scores ..." and "predicted ...". `make check` holds it against the simulator's.
`timescale 1ns / 1ns
module bench;
    reg clk = 0, rst = 1, start = 0, in_valid = 0;
    reg [7:0] in_count = 0;
    wire in_ready, out_valid, out_last;
    wire [@class_bits@-1:0] out_class, predicted;
    wire signed [31:0] out_score;
    integer recordings, results, byte_read, n, clocks = 0;

    always #5 clk = !clk;
    always @(posedge clk) clocks = clocks + 1;

    @name@_core core (
        .clk(clk), .rst(rst), .start(start), .in_ready(in_ready), .in_valid(in_valid), .in_count(in_count),
        .out_valid(out_valid), .out_ready(1'b1), .out_class(out_class), .out_score(out_score), .out_last(out_last),
        .predicted(predicted)
    );

@traces@
    initial begin
        recordings = $fopen("recordings.bin", "rb");
        results = $fopen("results.txt", "w");
        repeat (2) @(negedge clk);
        rst = 0;
        byte_read = $fgetc(recordings);
        while (byte_read >= 0) begin
            start = 1;
            @(negedge clk);
            start = 0;
            for (n = 0; n < @counts@; n = n + 1) begin
                in_count = byte_read;
                in_valid = 1;
                while (!in_ready) @(negedge clk);
                @(negedge clk);
                in_valid = 0;
                byte_read = $fgetc(recordings);
            end
            while (!(out_valid && out_last)) begin
                @(negedge clk);
                if (out_valid && out_class == 0) $fwrite(results, "scores");
                if (out_valid) $fwrite(results, " %0d", out_score);
            end
            $fwrite(results, "\npredicted %0d\n", predicted);
            @(negedge clk);
        end
        $fclose(results);
        $display("%0d clocks", clocks);
        $finish;
    end
endmodule
